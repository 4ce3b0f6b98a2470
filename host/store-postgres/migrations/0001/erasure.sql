
-- Erasing a user: fenced at once, removed in batches.

-- The name of an account of spending in tombstones; see `Installation::spending_name` of the store.
CREATE FUNCTION masque_spending_name_v1(p_account text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT encode(sha256(erasure_key || convert_to(p_account, 'UTF8')), 'hex') FROM masque
$$;

-- Fences a surrogate id: it loses its name, its running turns their leases, and the heads of its queues are removed, so that
-- no host runs a job of it. Days of spending, which are named by the identity, go at once. Returns the id that is erased.
--
-- The row of the user is locked first. An admission that inserts a conversation for the id waits for it, by its foreign
-- key, or comes before and is found. A turn that another admission begins in an older conversation meanwhile can write
-- nothing: its end and its state look for the user's name.
CREATE FUNCTION masque_begin_erasure_v1(
    p_tenant text, p_issuer text, p_subject text, p_new_user uuid, p_receipt uuid, p_name text, p_account text)
RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    v_user   uuid;
    v_now    bigint;
    v_lost   record;
    v_first  text;
    v_end    text;
    v_jobs   bigint;
    v_days   bigint;
BEGIN
    LOOP
        v_user := masque_user_v1(p_tenant, p_issuer, p_subject, p_new_user);
        UPDATE users SET tenant = NULL, issuer = NULL, subject = NULL WHERE id = v_user AND subject IS NOT NULL;
        -- Another erasure of the same id can come first.
        EXIT WHEN FOUND;
    END LOOP;
    v_now := masque_now_v1();
    FOR v_lost IN
        SELECT l.conversation, l.turn FROM leases l JOIN conversations c ON c.id = l.conversation
         WHERE l.turn IS NOT NULL AND c.user_id = v_user ORDER BY l.conversation FOR UPDATE OF l
    LOOP
        PERFORM masque_interrupt_v1(v_lost.turn, v_now);
        UPDATE leases SET turn = NULL, host = NULL, ends_at = NULL WHERE conversation = v_lost.conversation;
    END LOOP;
    v_first := masque_queue_v1(v_user, '');
    -- `0` is the character after `/`.
    v_end := rtrim(v_first, '/') || '0';
    PERFORM masque_lock_v1(2, (
        SELECT array_agg(queue) FROM jobs WHERE due_at IS NOT NULL AND queue >= v_first AND queue < v_end));
    DELETE FROM jobs WHERE due_at IS NOT NULL AND queue >= v_first AND queue < v_end;
    GET DIAGNOSTICS v_jobs = ROW_COUNT;
    -- A day of which only a block was asked for has a row, too.
    WITH days AS MATERIALIZED (SELECT account, day FROM spending WHERE account = p_account ORDER BY day FOR UPDATE),
    gone AS (
        DELETE FROM spending s USING days d WHERE s.account = d.account AND s.day = d.day
        RETURNING s.input_tokens > 0 OR s.output_tokens > 0 AS is_spent)
    SELECT count(*) FILTER (WHERE is_spent) INTO v_days FROM gone;
    DELETE FROM spending_blocks WHERE account = p_account;
    INSERT INTO erasures (id, user_id, name, begun_at, account, spending_name, jobs, spending_days)
    VALUES (p_receipt, v_user, p_name, v_now, p_account, masque_spending_name_v1(p_account), v_jobs, v_days);
    RETURN v_user;
END $$;

-- Removes rows of an erasure within a budget of rows and bytes: of one conversation, or of what is left when there is none.
-- Returns whether there may be more; also true while another host is at it.
CREATE FUNCTION masque_erase_v1(p_receipt uuid, p_rows bigint, p_bytes bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    v_user         uuid;
    v_account      text;
    v_conversation uuid;
    v_batch        record;
    v_first        text;
    v_end          text;
    v_numbers      bigint[];
    v_jobs         bigint := 0;
    v_values       bigint := 0;
    v_keys         bigint := 0;
    v_bytes        bigint := p_bytes;
    v_value        record;
BEGIN
    IF NOT EXISTS (SELECT 1 FROM erasures WHERE id = p_receipt AND done_at IS NULL) THEN
        RETURN false;
    END IF;
    SELECT user_id, account INTO v_user, v_account FROM erasures
     WHERE id = p_receipt AND done_at IS NULL FOR UPDATE;
    IF v_user IS NULL THEN
        RETURN false;
    END IF;

    -- Conversations that are marked deleted already come first. One that the sweep is removing at the moment is left to it.
    SELECT id INTO v_conversation FROM conversations WHERE user_id = v_user AND deleted_at IS NOT NULL LIMIT 1;
    IF v_conversation IS NULL THEN
        SELECT id INTO v_conversation FROM conversations WHERE user_id = v_user AND deleted_at IS NULL LIMIT 1;
        IF v_conversation IS NOT NULL THEN
            PERFORM 1 FROM leases WHERE conversation = v_conversation FOR UPDATE;
            UPDATE conversations SET deleted_at = masque_now_v1() WHERE id = v_conversation AND deleted_at IS NULL;
            DELETE FROM leases WHERE conversation = v_conversation;
            DELETE FROM tickets WHERE conversation = v_conversation;
        END IF;
    END IF;
    IF v_conversation IS NOT NULL THEN
        SELECT * INTO v_batch FROM masque_remove_conversation_v1(v_conversation, p_rows, p_bytes);
        UPDATE erasures
           SET conversations = conversations + coalesce(v_batch.is_finished, false)::int,
               messages = messages + coalesce(v_batch.messages_removed, 0),
               turns = turns + coalesce(v_batch.turns_removed, 0),
               idempotency_keys = idempotency_keys + coalesce(v_batch.keys_removed, 0),
               jobs = jobs + coalesce(v_batch.jobs_removed, 0),
               state_values = state_values + coalesce(v_batch.values_removed, 0)
         WHERE id = p_receipt;
        RETURN true;
    END IF;

    -- Jobs that belong to no conversation any more.
    v_first := masque_queue_v1(v_user, '');
    v_end := rtrim(v_first, '/') || '0';
    SELECT array_agg(number) INTO v_numbers
      FROM (SELECT number FROM jobs WHERE queue >= v_first AND queue < v_end AND status <> 'parked'
            UNION ALL SELECT number FROM jobs WHERE status = 'parked' AND user_id = v_user LIMIT p_rows) j;
    DELETE FROM jobs WHERE number = ANY (v_numbers);
    GET DIAGNOSTICS v_jobs = ROW_COUNT;

    -- What plugins keep for the user.
    PERFORM masque_lock_v1(3, (
        SELECT array_agg(DISTINCT concat_ws(E'\n', account, tenant, plugin)) FROM state
         WHERE owner = v_user AND scope = 'user'));
    FOR v_value IN
        SELECT tenant, plugin, key, coalesce(octet_length(value), 0) AS size FROM state
         WHERE owner = v_user AND scope = 'user' LIMIT p_rows
    LOOP
        EXIT WHEN v_bytes <= 0;
        DELETE FROM state
         WHERE owner = v_user AND tenant = v_value.tenant AND plugin = v_value.plugin AND scope = 'user'
           AND key = v_value.key;
        v_values := v_values + 1;
        v_bytes := v_bytes - v_value.size;
    END LOOP;

    DELETE FROM idempotency_keys WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM idempotency_keys WHERE user_id = v_user ORDER BY route, key LIMIT p_rows
           FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS v_keys = ROW_COUNT;
    UPDATE erasures
       SET jobs = jobs + v_jobs, state_values = state_values + v_values, idempotency_keys = idempotency_keys + v_keys
     WHERE id = p_receipt;
    IF v_jobs + v_values + v_keys > 0 THEN
        RETURN true;
    END IF;

    -- Nothing else is left. What hosts have reported since the beginning goes, and with it what the receipt knows of the name.
    IF v_account IS NOT NULL THEN
        PERFORM 1 FROM spending WHERE account = v_account ORDER BY day FOR UPDATE;
        DELETE FROM spending WHERE account = v_account;
        DELETE FROM spending_blocks WHERE account = v_account;
        UPDATE erasures SET account = NULL, spending_removed_at = masque_now_v1() WHERE id = p_receipt;
    END IF;
    RETURN false;
END $$;

-- Removes the user's own row and completes the receipt. NULL: there is no such erasure, or it is complete. False: rows are
-- left.
CREATE FUNCTION masque_finish_erasure_v1(p_receipt uuid) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    v_user uuid;
BEGIN
    SELECT user_id INTO v_user FROM erasures WHERE id = p_receipt AND done_at IS NULL FOR UPDATE;
    IF v_user IS NULL THEN
        RETURN NULL;
    END IF;
    PERFORM 1 FROM users WHERE id = v_user FOR UPDATE;
    IF EXISTS (SELECT 1 FROM conversations WHERE user_id = v_user)
       OR EXISTS (SELECT 1 FROM state WHERE owner = v_user)
       -- The order names the index: the plan for all arguments reads the table otherwise.
       OR (SELECT turn FROM idempotency_keys WHERE user_id = v_user ORDER BY route, key LIMIT 1) IS NOT NULL
       OR EXISTS (SELECT 1 FROM erasures WHERE id = p_receipt AND account IS NOT NULL) THEN
        RETURN false;
    END IF;
    DELETE FROM users WHERE id = v_user;
    UPDATE erasures SET done_at = masque_now_v1() WHERE id = p_receipt;
    RETURN true;
END $$;
