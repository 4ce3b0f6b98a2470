-- Tokens spent.

-- Applies corrections to every account and then, if `p_input` is not NULL, debits all of them unless one has spent its
-- budget. Accounts are named once, and sorted like the days, so that all transactions lock the rows in one order. The row:
-- the day, and, if an account has spent its budget, what it used and its budget.
CREATE FUNCTION masque_debit_v1(
    p_accounts text[], p_budgets bigint[], p_input bigint, p_output bigint,
    p_days bigint[], p_inputs bigint[], p_outputs bigint[])
RETURNS TABLE (now_at bigint, used bigint, budget bigint) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_now   bigint := masque_now_v1();
    v_today bigint := v_now / 86400000;
    v_used  bigint;
    v_row   record;
BEGIN
    FOR v_row IN
        SELECT a.account, d.day FROM unnest(p_accounts) AS a (account)
         CROSS JOIN (SELECT DISTINCT day FROM unnest(p_days || CASE WHEN p_input IS NOT NULL THEN v_today END) AS day) d
         WHERE d.day IS NOT NULL ORDER BY a.account COLLATE "C", d.day
    LOOP
        INSERT INTO spending (account, day, input_tokens, output_tokens) VALUES (v_row.account, v_row.day, 0, 0)
            ON CONFLICT (account, day) DO NOTHING;
        PERFORM 1 FROM spending WHERE account = v_row.account AND day = v_row.day FOR UPDATE;
    END LOOP;
    -- One after the other, since a sum below zero counts as zero.
    FOR i IN 1 .. coalesce(cardinality(p_days), 0) LOOP
        UPDATE spending SET input_tokens = greatest(input_tokens + p_inputs[i], 0),
                            output_tokens = greatest(output_tokens + p_outputs[i], 0)
         WHERE account = ANY (p_accounts) AND day = p_days[i];
    END LOOP;
    IF p_input IS NOT NULL THEN
        FOR i IN 1 .. coalesce(cardinality(p_accounts), 0) LOOP
            CONTINUE WHEN p_budgets[i] IS NULL;
            SELECT s.input_tokens + s.output_tokens INTO v_used FROM spending s
             WHERE s.account = p_accounts[i] AND s.day = v_today;
            IF v_used >= p_budgets[i] THEN
                RETURN QUERY SELECT v_now, v_used, p_budgets[i];
                RETURN;
            END IF;
        END LOOP;
        UPDATE spending SET input_tokens = input_tokens + p_input, output_tokens = output_tokens + p_output
         WHERE account = ANY (p_accounts) AND day = v_today;
    END IF;
    RETURN QUERY SELECT v_now, NULL::bigint, NULL::bigint;
END $$;
