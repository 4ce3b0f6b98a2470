-- Admission of a turn, in one round trip.
--
-- The first row is the outcome. Rows with the part `message` (the user's message of a turn that is run again) and `tail`
-- (the newest messages before it, newest first) follow. `text` of the tail is within the limits.

CREATE TYPE masque_admission_v1 AS (
    part            text,
    outcome         text,
    turn            uuid,
    attempt         bigint,
    epoch           bigint,
    conversation    uuid,
    companion       text,
    host            uuid,
    kept            uuid,
    retry_after     bigint,
    is_waiting      boolean,
    id              uuid,
    message_turn    uuid,
    parent          uuid,
    sequence        bigint,
    role            text,
    text            text,
    in_tail         boolean,
    turn_status     text,
    created_at      bigint,
    metadata        text
);

-- The newest messages before a sequence within both limits, newest first. Texts past the limit are not read.
CREATE FUNCTION masque_tail_v1(p_conversation uuid, p_before bigint, p_messages bigint, p_bytes bigint)
RETURNS SETOF masque_admission_v1 LANGUAGE sql STABLE AS $$
    SELECT 'tail', NULL, NULL::uuid, NULL::bigint, NULL::bigint, NULL::uuid, NULL, NULL::uuid, NULL::uuid, NULL::bigint,
           NULL::boolean, s.id, s.turn, s.parent, s.sequence, s.role, s.text, s.in_tail, t.status, s.created_at, s.metadata
      FROM (SELECT m.*, sum(octet_length(m.text)) OVER (ORDER BY m.sequence DESC) AS total
              FROM (SELECT * FROM messages
                     WHERE conversation = p_conversation AND sequence < p_before AND in_tail
                     ORDER BY sequence DESC LIMIT p_messages) m) s
           LEFT JOIN turns t ON t.id = s.turn
     WHERE s.total <= p_bytes
     ORDER BY s.sequence DESC;
$$;

-- Takes the turns out of the tail that asked the same as `p_question` and were interrupted, as far as no complete turn
-- and no greeting came after them. A client that gives up and sends its question again without an idempotency key begins
-- another turn, and the model is to be asked once. A client that gives up again and again leaves one or two messages for
-- each time, so the newest 64 are looked at.
CREATE FUNCTION masque_leave_out_repeated_v1(p_conversation uuid, p_before bigint, p_question text) RETURNS void
LANGUAGE sql AS $$
    WITH newest AS MATERIALIZED (
        SELECT m.sequence, m.turn, coalesce(t.status = 'interrupted', false) AS is_cut,
               m.role = 'user' AND btrim(m.text, E' \t\r\n') = btrim(p_question, E' \t\r\n') AS is_same
          FROM messages m LEFT JOIN turns t ON t.id = m.turn
         WHERE m.conversation = p_conversation AND m.sequence < p_before AND m.in_tail
         ORDER BY m.sequence DESC LIMIT 64),
    cut AS (
        SELECT * FROM newest
         WHERE sequence > coalesce((SELECT max(sequence) FROM newest WHERE NOT is_cut), 0))
    UPDATE messages SET in_tail = false
     WHERE conversation = p_conversation
       AND sequence IN (SELECT sequence FROM cut WHERE turn IN (SELECT turn FROM cut WHERE is_same));
$$;

CREATE FUNCTION masque_admit_v1(
    p_tenant text, p_issuer text, p_subject text, p_new_user uuid,
    p_host uuid, p_lease bigint, p_turn uuid,
    p_conversation uuid, p_is_new boolean, p_new_companion text, p_new_title text,
    p_companion text, p_companions text[],
    p_message uuid, p_text text, p_metadata text, p_title text,
    p_route text, p_key text, p_digest bytea, p_ttl bigint, p_resume boolean,
    p_tail_messages bigint, p_tail_bytes bigint, p_max_waiting bigint, p_ticket_ttl bigint)
RETURNS SETOF masque_admission_v1 LANGUAGE plpgsql AS $$
DECLARE
    v_now     bigint;
    v_user    uuid;
    v_key_turn         uuid;
    v_key_conversation uuid;
    v_key_digest       bytea;
    v_found   record;
    v_again   record;
    v_answer  masque_admission_v1;
    v_before  masque_admission_v1;
    v_target  uuid := p_conversation;
    v_keyed   boolean := false;
BEGIN
    v_answer.part := 'outcome';
    IF p_key IS NOT NULL THEN
        -- Requests with one key wait for each other here, before they hold anything else.
        PERFORM masque_lock_v1(1, ARRAY[concat_ws(E'\n', p_tenant, p_issuer, p_subject, p_route, p_key)]);
    END IF;
    v_user := masque_user_v1(p_tenant, p_issuer, p_subject, CASE WHEN p_is_new THEN p_new_user END);
    IF v_user IS NULL THEN
        v_answer.outcome := 'unknown';
        RETURN NEXT v_answer;
        RETURN;
    END IF;

    IF p_key IS NOT NULL THEN
        SELECT i.digest, t.id, t.conversation, c.companion
          INTO v_key_digest, v_key_turn, v_key_conversation, v_answer.companion
          FROM idempotency_keys i JOIN turns t ON t.id = i.turn JOIN conversations c ON c.id = t.conversation
         WHERE i.user_id = v_user AND i.route = p_route AND i.key = p_key AND i.expires_at > masque_now_v1()
           AND c.deleted_at IS NULL;
        v_keyed := FOUND;
        IF v_keyed THEN
            v_answer.turn := v_key_turn;
            IF NOT p_resume AND v_key_turn <> p_turn THEN
                v_answer.outcome := 'seen';
            ELSIF v_key_digest <> p_digest THEN
                v_answer.outcome := 'other_body';
            END IF;
            IF v_answer.outcome IS NOT NULL THEN
                IF p_max_waiting IS NOT NULL THEN
                    DELETE FROM tickets WHERE turn = p_turn;
                END IF;
                RETURN NEXT v_answer;
                RETURN;
            END IF;
            v_target := v_key_conversation;
        END IF;
    END IF;

    -- The lock of the conversation. What is read from here on can't change until the transaction ends.
    IF p_is_new AND NOT v_keyed THEN
        v_now := masque_now_v1();
        INSERT INTO conversations (id, user_id, companion, title, created_at)
        VALUES (p_conversation, v_user, p_new_companion, p_new_title, v_now) ON CONFLICT (id) DO NOTHING;
        IF FOUND THEN
            INSERT INTO leases (conversation, epoch, turn, host, ends_at, last_sequence, updated_at)
            VALUES (p_conversation, 1, p_turn, p_host, v_now + p_lease, 1, v_now);
            v_answer.outcome := 'started';
            v_answer.epoch := 1;
            v_answer.sequence := 1;
            v_answer.companion := p_new_companion;
        END IF;
    END IF;
    IF v_answer.outcome IS NULL THEN
        SELECT c.user_id, c.companion, c.title IS NOT NULL AS has_title,
               l.epoch, l.last_sequence, l.turn, l.ends_at INTO v_found
          FROM leases l JOIN conversations c ON c.id = l.conversation
         WHERE l.conversation = v_target AND c.deleted_at IS NULL FOR UPDATE OF l;
        v_now := masque_now_v1();
        IF p_is_new AND NOT v_keyed AND NOT coalesce(v_found.user_id = v_user
                AND v_found.turn IS NOT DISTINCT FROM p_turn AND v_found.ends_at > v_now, false) THEN
            -- The caller finishes the removal of a deleted conversation and tries again, or refuses.
            v_answer.outcome := 'taken';
            RETURN NEXT v_answer;
            RETURN;
        END IF;
        IF v_found.epoch IS NULL THEN
            v_answer.outcome := 'unknown';
            RETURN NEXT v_answer;
            RETURN;
        END IF;
        v_answer.companion := v_found.companion;
    END IF;
    v_answer.conversation := v_target;

    -- A turn that was stored before: replayed, joined, answered again, or run again.
    IF v_answer.outcome IS NULL THEN
        SELECT t.* INTO v_again FROM turns t
         WHERE t.id = CASE WHEN v_keyed THEN v_key_turn
                           WHEN v_found.user_id = v_user AND v_found.turn = p_turn AND v_found.ends_at > v_now THEN p_turn
                      END;
        IF v_again.id IS NOT NULL THEN
            v_answer.turn := v_again.id;
            v_answer.host := v_again.host;
            IF v_again.status = 'completed' THEN
                v_answer.outcome := 'completed';
            ELSIF v_again.status = 'running' AND v_found.turn = v_again.id AND v_found.ends_at > v_now THEN
                IF v_again.id = p_turn AND v_again.host = p_host THEN
                    v_answer.outcome := 'again';
                    v_answer.attempt := v_again.attempt;
                    v_answer.epoch := v_found.epoch;
                ELSE
                    v_answer.outcome := 'running';
                END IF;
            END IF;
            IF v_answer.outcome IN ('completed', 'running') THEN
                IF p_max_waiting IS NOT NULL THEN
                    DELETE FROM tickets WHERE turn = p_turn;
                END IF;
                RETURN NEXT v_answer;
                RETURN;
            END IF;
        END IF;
    END IF;

    IF v_answer.outcome IS NULL THEN
        -- Why the turn can't take the lease.
        IF v_found.user_id <> v_user THEN
            v_answer.outcome := 'unknown';
        ELSIF p_companion <> v_found.companion THEN
            v_answer.outcome := 'other_companion';
        ELSIF NOT v_found.companion = ANY (p_companions) THEN
            v_answer.outcome := 'companion_gone';
        ELSIF v_found.ends_at > v_now OR EXISTS (SELECT 1 FROM tickets WHERE conversation = v_target) THEN
            SELECT * INTO v_answer.retry_after, v_answer.is_waiting
              FROM masque_wait_v1(v_target, p_turn, p_host, v_found.ends_at, p_max_waiting, p_ticket_ttl, v_now);
            IF v_answer.retry_after IS NOT NULL THEN
                v_answer.outcome := 'busy';
            END IF;
        END IF;
        IF v_answer.outcome IS NOT NULL THEN
            IF p_max_waiting IS NOT NULL AND v_answer.outcome <> 'busy' THEN
                DELETE FROM tickets WHERE turn = p_turn;
            END IF;
            RETURN NEXT v_answer;
            RETURN;
        END IF;
        IF v_found.turn <> coalesce(v_again.id, p_turn) THEN
            PERFORM masque_interrupt_v1(v_found.turn, v_now);
        END IF;
        v_answer.epoch := v_found.epoch + 1;
        IF v_again.id IS NOT NULL THEN
            v_answer.outcome := 'again';
            v_answer.attempt := v_again.attempt + 1;
            UPDATE leases SET epoch = v_answer.epoch, turn = v_again.id, host = p_host, ends_at = v_now + p_lease,
                   is_cancelled = false, updated_at = v_now
             WHERE conversation = v_target;
            UPDATE turns
               SET status = 'running', attempt = v_answer.attempt, epoch = v_answer.epoch, host = p_host, finish = NULL,
                   input_tokens = NULL, output_tokens = NULL, cached_tokens = NULL, usage_estimated = NULL,
                   problem = NULL, ended_at = NULL
             WHERE id = v_again.id;
            UPDATE messages SET in_tail = true WHERE id = v_again.message AND NOT in_tail;
        ELSE
            v_answer.outcome := 'started';
            v_answer.sequence := v_found.last_sequence + 1;
            UPDATE leases SET epoch = v_answer.epoch, turn = p_turn, host = p_host, ends_at = v_now + p_lease,
                   is_cancelled = false, last_sequence = v_answer.sequence, updated_at = v_now
             WHERE conversation = v_target;
            IF NOT v_found.has_title THEN
                UPDATE conversations SET title = p_title WHERE id = v_target AND title IS NULL;
            END IF;
        END IF;
    END IF;

    IF v_answer.outcome = 'again' THEN
        v_answer.kept := v_again.reply;
        RETURN NEXT v_answer;
        SELECT 'message', m.id, m.turn, m.parent, m.sequence, m.role, m.text, m.in_tail, 'running', m.created_at, m.metadata
          INTO v_before.part, v_before.id, v_before.message_turn, v_before.parent, v_before.sequence, v_before.role,
               v_before.text, v_before.in_tail, v_before.turn_status, v_before.created_at, v_before.metadata
          FROM messages m WHERE m.id = v_again.message;
        RETURN NEXT v_before;
        RETURN QUERY SELECT * FROM masque_tail_v1(v_target, v_before.sequence, p_tail_messages, p_tail_bytes);
        RETURN;
    END IF;

    -- A new turn.
    IF v_answer.sequence > 1 THEN
        SELECT m.id, t.status INTO v_before.id, v_before.turn_status
          FROM messages m LEFT JOIN turns t ON t.id = m.turn
         WHERE m.conversation = v_target AND m.sequence < v_answer.sequence AND m.in_tail
         ORDER BY m.sequence DESC LIMIT 1;
        IF v_before.turn_status = 'interrupted' THEN
            PERFORM masque_leave_out_repeated_v1(v_target, v_answer.sequence, p_text);
            v_before.id := NULL;
            SELECT m.id INTO v_before.id FROM messages m
             WHERE m.conversation = v_target AND m.sequence < v_answer.sequence AND m.in_tail
             ORDER BY m.sequence DESC LIMIT 1;
        END IF;
    END IF;
    INSERT INTO turns (id, conversation, status, attempt, epoch, host, message, key_expires_at, created_at)
    VALUES (p_turn, v_target, 'running', 1, v_answer.epoch, p_host, p_message,
            CASE WHEN p_key IS NOT NULL THEN v_now + p_ttl END, v_now);
    INSERT INTO messages (id, conversation, sequence, turn, parent, role, in_tail, text, metadata, created_at)
    VALUES (p_message, v_target, v_answer.sequence, p_turn, v_before.id, 'user', true, p_text, p_metadata, v_now);
    IF p_key IS NOT NULL THEN
        -- Replaces a key that has expired or whose conversation was deleted.
        INSERT INTO idempotency_keys (expires_at, turn, user_id, route, key, digest)
        VALUES (v_now + p_ttl, p_turn, v_user, p_route, p_key, p_digest)
            ON CONFLICT (user_id, route, key) DO UPDATE
           SET expires_at = excluded.expires_at, turn = excluded.turn, digest = excluded.digest;
    END IF;
    v_answer.turn := p_turn;
    v_answer.attempt := 1;
    v_answer.parent := v_before.id;
    v_answer.created_at := v_now;
    RETURN NEXT v_answer;
    IF v_answer.sequence > 1 THEN
        RETURN QUERY SELECT * FROM masque_tail_v1(v_target, v_answer.sequence, p_tail_messages, p_tail_bytes);
    END IF;
END $$;

