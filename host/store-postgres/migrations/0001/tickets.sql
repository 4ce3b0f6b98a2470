-- Tickets: places of turns that wait for a conversation.

-- Decides whether a turn has to wait for a conversation, whose lease row is locked, and keeps its ticket accordingly: a turn
-- that begins, or may not wait (`p_max` is NULL), has none. `p_held_until` is the end of the lease, if it is held.
-- `retry_after` is NULL if the turn may begin.
CREATE FUNCTION masque_wait_v1(
    p_conversation uuid, p_turn uuid, p_host uuid, p_held_until bigint, p_max bigint, p_ttl bigint, p_now bigint,
    OUT retry_after bigint, OUT is_waiting boolean)
LANGUAGE plpgsql AS $$
DECLARE
    v_own     bigint;
    v_others  bigint;
    v_first   bigint;
    v_ends_at bigint;
BEGIN
    DELETE FROM tickets WHERE conversation = p_conversation AND ends_at <= p_now;
    -- All in one statement: turns stop waiting without the lock of the conversation.
    SELECT count(*) FILTER (WHERE turn <> p_turn), min(number) FILTER (WHERE turn <> p_turn),
           (array_agg(ends_at ORDER BY number) FILTER (WHERE turn <> p_turn))[1], min(number) FILTER (WHERE turn = p_turn)
      INTO v_others, v_first, v_ends_at, v_own
      FROM tickets WHERE conversation = p_conversation;
    IF p_held_until > p_now THEN
        retry_after := p_held_until - p_now;
    ELSIF v_others > 0 AND (p_max IS NULL OR v_own IS NULL OR v_own > v_first) THEN
        retry_after := v_ends_at - p_now;
    END IF;

    is_waiting := retry_after IS NOT NULL AND p_max IS NOT NULL AND (v_own IS NOT NULL OR v_others < p_max);
    IF NOT is_waiting THEN
        DELETE FROM tickets WHERE turn = p_turn;
    ELSIF v_own IS NOT NULL THEN
        UPDATE tickets SET host = p_host, ends_at = p_now + p_ttl WHERE turn = p_turn;
    ELSE
        -- A turn waits for one conversation.
        DELETE FROM tickets WHERE turn = p_turn;
        INSERT INTO tickets (turn, conversation, number, host, ends_at)
        VALUES (p_turn, p_conversation,
                coalesce((SELECT max(number) FROM tickets WHERE conversation = p_conversation), 0) + 1,
                p_host, p_now + p_ttl);
    END IF;
END $$;

-- The turn that waits first for a conversation, whose lease row is locked.
CREATE FUNCTION masque_next_v1(p_conversation uuid, p_now bigint, OUT host uuid, OUT turn uuid)
LANGUAGE sql STABLE AS $$
    SELECT t.host, t.turn FROM tickets t
     WHERE t.conversation = p_conversation AND t.ends_at > p_now ORDER BY t.number LIMIT 1;
$$;
