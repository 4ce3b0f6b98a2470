-- Records of turns: stored by any host, and kept within bounds.

-- Stores records and returns how many. One is left out unless its conversation is there, is the user's and has the turn. The
-- conversations are locked, by id, against the removal of their rows: a record is committed before its conversation is
-- removed, and removed with it, or it finds the conversation marked.
CREATE FUNCTION masque_store_records_v1(
    p_turns uuid[], p_attempts bigint[], p_conversations uuid[], p_tenants text[], p_issuers text[], p_subjects text[],
    p_bodies bytea[])
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_locked uuid[];
    v_stored bigint;
BEGIN
    SELECT array_agg(id) INTO v_locked
      FROM (SELECT id FROM conversations WHERE id = ANY (p_conversations) AND deleted_at IS NULL
             ORDER BY id FOR KEY SHARE) c;
    -- Of several records of one attempt the last counts.
    INSERT INTO turn_records (turn, attempt, conversation, stored_at, bytes, body)
    SELECT DISTINCT ON (r.turn, r.attempt)
           r.turn, r.attempt, c.id, masque_now_v1(), 256 + octet_length(r.body), r.body
      FROM unnest(p_turns, p_attempts, p_conversations, p_tenants, p_issuers, p_subjects, p_bodies) WITH ORDINALITY
               AS r (turn, attempt, conversation, tenant, issuer, subject, body, place)
      JOIN conversations c ON c.id = r.conversation AND c.id = ANY (v_locked) AND c.deleted_at IS NULL
      JOIN turns t ON t.id = r.turn AND t.conversation = c.id
     WHERE c.user_id = (
           SELECT u.id FROM users u WHERE u.subject = r.subject AND u.issuer = r.issuer AND u.tenant = r.tenant)
     ORDER BY r.turn, r.attempt, r.place DESC
    ON CONFLICT (turn, attempt) DO UPDATE
       SET conversation = excluded.conversation, stored_at = excluded.stored_at, bytes = excluded.bytes,
           body = excluded.body;
    GET DIAGNOSTICS v_stored = ROW_COUNT;
    RETURN v_stored;
END $$;

-- Removes records that are older than `p_age`, or else the oldest beyond `p_total` bytes, within a budget of rows and bytes.
-- Returns how many; none while another host is at it.
CREATE FUNCTION masque_sweep_records_v1(p_age bigint, p_total bigint, p_rows bigint, p_bytes bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    v_removed bigint;
    v_excess  bigint;
BEGIN
    IF NOT masque_try_lock_v1(4, 'turn_records') THEN
        RETURN 0;
    END IF;
    DELETE FROM turn_records WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM turn_records WHERE stored_at <= masque_now_v1() - p_age
         ORDER BY stored_at, turn, attempt LIMIT p_rows FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS v_removed = ROW_COUNT;
    IF v_removed > 0 THEN
        RETURN v_removed;
    END IF;
    SELECT coalesce(sum(bytes), 0)::bigint - p_total INTO v_excess FROM turn_records;
    IF v_excess > 0 THEN
        DELETE FROM turn_records WHERE ctid = ANY (ARRAY(
            SELECT o.ctid
              FROM (SELECT ctid, sum(bytes) OVER (ORDER BY stored_at, turn, attempt) - bytes AS before
                      FROM (SELECT ctid, stored_at, turn, attempt, bytes FROM turn_records
                             ORDER BY stored_at, turn, attempt LIMIT p_rows) r) o
             WHERE o.before < v_excess AND o.before < p_bytes));
        GET DIAGNOSTICS v_removed = ROW_COUNT;
    END IF;
    RETURN v_removed;
END $$;
