-- Tokens spent, and the blocks of them that hosts hold.

-- Counts what a host used, and gives, keeps and takes back its blocks. `p_accounts`, `p_days`, `p_inputs` and `p_outputs`
-- are what was used, each account and day once. `p_blocks` are accounts, each once: without a budget, the host returns its
-- block; with one, it gets a block with the wanted tokens, if there are so many. The first row has no account;
-- the others are the blocks that the host holds, none if the report is late.
--
-- `p_debited` are the times of what was used, and `p_sent` is that of the report. Of an erased user, what is from before the
-- removal of the last rows is left out. A report comes before that removal, and its rows are removed, or after it: it locks
-- the erasures that run.
--
-- Without wanted tokens no row is made: a host that keeps or returns the block of a user who was erased meanwhile would
-- write their name again.
CREATE FUNCTION masque_report_spending_v1(
    p_host uuid, p_revision bigint, p_lease bigint, p_sent bigint,
    p_accounts text[], p_days bigint[], p_debited bigint[], p_inputs bigint[], p_outputs bigint[],
    p_blocks text[], p_budgets bigint[], p_wanted bigint[])
RETURNS TABLE (now_at bigint, account text, budget bigint, tokens bigint, available bigint) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_now   bigint := masque_now_v1();
    v_today bigint := v_now / 86400000;
    v_hosts bigint;
    v_seen  bigint;
    v_since bigint;
BEGIN
    -- A report whose connection was lost may still run. The same report, sent again, waits for it here.
    INSERT INTO spending_reports (host, revision, reported_at) VALUES (p_host, -1, v_now) ON CONFLICT (host) DO NOTHING;
    SELECT r.revision INTO v_seen FROM spending_reports r WHERE r.host = p_host FOR UPDATE;
    RETURN QUERY SELECT v_now, NULL::text, NULL::bigint, NULL::bigint, NULL::bigint;
    IF p_revision < v_seen THEN
        RETURN;
    END IF;

    -- Names of accounts are computed only if there is an erasure that they may be of.
    v_since := least((SELECT min(debited) FROM unnest(p_debited) AS debited),
                     (SELECT p_sent FROM unnest(p_wanted) AS wanted WHERE wanted > 0 LIMIT 1));
    IF EXISTS (SELECT 1 FROM erasures e WHERE e.done_at IS NULL AND e.account IS NOT NULL)
       -- The last removal, read at the end of its index.
       OR coalesce((SELECT max(e.spending_removed_at) FROM erasures e) >= v_since, false) THEN
        PERFORM 1 FROM erasures e
         WHERE e.spending_name = ANY (ARRAY(SELECT masque_spending_name_v1(named.account)
                                              FROM unnest(p_accounts || p_blocks) AS named (account)))
           AND e.account IS NOT NULL
         ORDER BY e.id FOR SHARE;
        SELECT array_agg(u.account), array_agg(u.day), array_agg(u.input), array_agg(u.output)
          INTO p_accounts, p_days, p_inputs, p_outputs
          FROM unnest(p_accounts, p_days, p_debited, p_inputs, p_outputs) AS u (account, day, debited, input, output)
         WHERE NOT EXISTS (SELECT 1 FROM erasures e
                            WHERE e.spending_name = masque_spending_name_v1(u.account)
                              AND e.spending_removed_at >= u.debited);
        SELECT array_agg(r.account), array_agg(r.budget), array_agg(r.wanted)
          INTO p_blocks, p_budgets, p_wanted
          FROM unnest(p_blocks, p_budgets, p_wanted) AS r (account, budget, wanted)
         WHERE r.wanted <= 0
            OR NOT EXISTS (SELECT 1 FROM erasures e
                            WHERE e.spending_name = masque_spending_name_v1(r.account)
                              AND e.spending_removed_at >= p_sent);
    END IF;

    -- The row of an account and day is the lock on its blocks. All transactions make and lock them in one order.
    INSERT INTO spending (account, day, input_tokens, output_tokens)
        SELECT named.account, named.day, 0, 0
          FROM (SELECT u.account, u.day FROM unnest(p_accounts, p_days) AS u (account, day)
                UNION SELECT b.account, v_today FROM unnest(p_blocks, p_wanted) AS b (account, wanted)
                 WHERE b.wanted > 0) named
         ORDER BY named.account COLLATE "C", named.day
        ON CONFLICT (account, day) DO NOTHING;
    PERFORM 1 FROM spending s
      JOIN (SELECT u.account, u.day FROM unnest(p_accounts, p_days) AS u (account, day)
            UNION SELECT b.account, v_today FROM unnest(p_blocks) AS b (account)) named
        ON named.account = s.account AND named.day = s.day
     ORDER BY s.account, s.day FOR UPDATE OF s;

    IF p_revision > v_seen THEN
        UPDATE spending s SET input_tokens = greatest(s.input_tokens + u.input, 0),
                              output_tokens = greatest(s.output_tokens + u.output, 0)
          FROM unnest(p_accounts, p_days, p_inputs, p_outputs) AS u (account, day, input, output)
         WHERE s.account = u.account AND s.day = u.day;
        UPDATE spending_blocks b SET tokens = b.tokens - u.input - u.output
          FROM unnest(p_accounts, p_days, p_inputs, p_outputs) AS u (account, day, input, output)
         WHERE b.account = u.account AND b.day = u.day AND b.day = v_today AND b.host = p_host;
        UPDATE spending_reports r SET revision = p_revision, reported_at = v_now WHERE r.host = p_host;
    END IF;

    DELETE FROM spending_blocks b USING unnest(p_blocks, p_budgets) AS r (account, budget)
     WHERE b.account = r.account AND b.host = p_host AND r.budget IS NULL;
    SELECT greatest(count(*), 1) INTO v_hosts FROM hosts h WHERE h.alive_until > v_now;
    RETURN QUERY
        WITH asked AS MATERIALIZED (
            SELECT r.account, r.budget, r.wanted, held.own,
                   r.budget - coalesce(s.input_tokens + s.output_tokens, 0) - held.others AS available
              FROM unnest(p_blocks, p_budgets, p_wanted) AS r (account, budget, wanted)
                   LEFT JOIN spending s ON s.account = r.account AND s.day = v_today
                   CROSS JOIN LATERAL (
                       SELECT coalesce(sum(b.tokens) FILTER (WHERE b.host = p_host), 0)::bigint AS own,
                              coalesce(sum(greatest(b.tokens, 0)) FILTER (WHERE b.host <> p_host), 0)::bigint AS others
                         FROM spending_blocks b
                        WHERE b.account = r.account AND b.day = v_today AND b.ends_at > v_now) held
             WHERE r.budget IS NOT NULL),
        grown AS MATERIALIZED (
            SELECT a.account, a.budget, a.wanted, a.available,
                   least(a.available,
                         CASE WHEN a.own >= a.wanted THEN a.own
                              ELSE greatest(a.own + greatest(a.available - greatest(a.own, 0), 0) / (4 * v_hosts),
                                            a.wanted) END) AS tokens
              FROM asked a),
        written AS (
            INSERT INTO spending_blocks AS b (account, day, host, tokens, ends_at)
                SELECT g.account, v_today, p_host, g.tokens, v_now + p_lease FROM grown g WHERE g.wanted > 0
                ON CONFLICT (account, day, host) DO UPDATE SET tokens = excluded.tokens, ends_at = excluded.ends_at),
        kept AS (
            UPDATE spending_blocks b SET tokens = g.tokens, ends_at = v_now + p_lease
              FROM grown g
             WHERE g.wanted <= 0 AND b.account = g.account AND b.day = v_today AND b.host = p_host)
        SELECT v_now, g.account, g.budget, g.tokens, g.available FROM grown g;
END $$;
