-- The end of a turn as completed, interrupted or failed, in one statement that is fenced by turn and epoch.
--
-- A running turn with its epoch holds the conversation's lease, since whoever takes the lease ends the turn first. So a
-- turn that lost its lease writes nothing, and a repetition finds what the first end wrote. Neither does one whose lease has
-- expired: its host was paused, and has told others that the turn may be taken over.

-- Puts jobs at the end of their queues. Enqueuing and removing a head exclude each other: of two commits that both find a
-- queue empty, one makes the head and the other waits and finds it.
CREATE FUNCTION masque_enqueue_v1(
    p_user uuid, p_conversation uuid, p_turn uuid, p_ids uuid[], p_plugins text[], p_kinds text[], p_payloads text[])
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_now   bigint;
    v_queue text;
    v_job   record;
BEGIN
    PERFORM masque_lock_v1(2, (SELECT array_agg(masque_queue_v1(p_user, plugin)) FROM unnest(p_plugins) AS plugin));
    v_now := masque_now_v1();
    FOR v_job IN
        SELECT * FROM unnest(p_ids, p_plugins, p_kinds, p_payloads) WITH ORDINALITY AS j (id, plugin, kind, payload, place)
         ORDER BY place
    LOOP
        v_queue := masque_queue_v1(p_user, v_job.plugin);
        INSERT INTO jobs (id, queue, user_id, conversation, turn, plugin, kind, payload, status, due_at, created_at)
        VALUES (v_job.id, v_queue, p_user, p_conversation, p_turn, v_job.plugin, v_job.kind, v_job.payload, 'queued',
                CASE WHEN NOT EXISTS (SELECT 1 FROM jobs WHERE queue = v_queue AND due_at IS NOT NULL) THEN v_now END,
                v_now);
    END LOOP;
END $$;

-- No row: the lease is lost. Otherwise one row, with a reply or with NULLs. `text` and `metadata` are NULL where they are
-- those that were sent. `next_host` and `next_turn` are the turn that waits first.
CREATE FUNCTION masque_end_v1(
    p_tenant text, p_issuer text, p_subject text, p_conversation uuid, p_turn uuid, p_epoch bigint, p_status text,
    p_reply uuid, p_text text, p_metadata text,
    p_finish text, p_input bigint, p_output bigint, p_cached bigint, p_estimated boolean,
    p_response text, p_response_text text, p_problem text,
    p_job_ids uuid[], p_job_plugins text[], p_job_kinds text[], p_job_payloads text[])
RETURNS TABLE (
    id uuid, message_turn uuid, parent uuid, sequence bigint, role text, text text, in_tail boolean, turn_status text,
    created_at bigint, metadata text, next_host uuid, next_turn uuid)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_now   bigint;
    v_last  bigint;
    v_ends  bigint;
    v_next  record;
    v_found record;
    v_kept  uuid;
    v_sent  boolean := false;
BEGIN
    SELECT l.last_sequence, l.ends_at INTO v_last, v_ends FROM leases l WHERE l.conversation = p_conversation FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT t.status, t.message, t.reply, c.user_id INTO v_found
      FROM turns t JOIN conversations c ON c.id = t.conversation JOIN users u ON u.id = c.user_id
     WHERE t.id = p_turn AND t.conversation = p_conversation AND t.epoch = p_epoch AND c.deleted_at IS NULL
       AND u.subject = p_subject AND u.issuer = p_issuer AND u.tenant = p_tenant;
    IF NOT FOUND OR v_found.status NOT IN ('running', p_status) THEN
        RETURN;
    END IF;
    v_now := masque_now_v1();
    IF v_found.status = 'running' AND v_ends <= v_now THEN
        RETURN;
    END IF;
    v_kept := v_found.reply;

    IF v_found.status = 'running' THEN
        -- A failed turn leaves the tail with its user's message and the part of a reply that an earlier attempt left.
        IF p_status = 'failed' THEN
            UPDATE messages m SET in_tail = false WHERE m.id = v_found.message AND m.in_tail;
        END IF;
        IF v_kept IS NULL AND p_reply IS NOT NULL THEN
            v_last := v_last + 1;
            INSERT INTO messages (id, conversation, sequence, turn, parent, role, in_tail, text, metadata, created_at)
            VALUES (p_reply, p_conversation, v_last, p_turn, v_found.message, 'assistant', true, p_text, p_metadata, v_now);
            v_kept := p_reply;
            v_sent := true;
        ELSIF v_kept IS NOT NULL THEN
            -- It is replaced at its place, also if later messages follow. It keeps its id, which these may name as their
            -- parent.
            IF p_reply IS NOT NULL THEN
                UPDATE messages m
                   SET text = p_text, content = NULL, metadata = p_metadata, created_at = v_now,
                       in_tail = p_status <> 'failed'
                 WHERE m.id = v_kept;
                v_sent := true;
            ELSE
                UPDATE messages m SET in_tail = p_status <> 'failed' WHERE m.id = v_kept;
            END IF;
        END IF;
        UPDATE leases l
           SET turn = NULL, host = NULL, ends_at = NULL, last_sequence = v_last, updated_at = v_now
         WHERE l.conversation = p_conversation;
        UPDATE turns t
           SET status = p_status, reply = v_kept, finish = p_finish, input_tokens = p_input, output_tokens = p_output,
               cached_tokens = p_cached, usage_estimated = p_estimated, response = p_response,
               response_text = p_response_text, problem = p_problem, ended_at = v_now
         WHERE t.id = p_turn;
        IF cardinality(p_job_ids) > 0 THEN
            PERFORM masque_enqueue_v1(v_found.user_id, p_conversation, p_turn, p_job_ids, p_job_plugins, p_job_kinds,
                                      p_job_payloads);
        END IF;
    END IF;

    SELECT n.host, n.turn INTO v_next FROM masque_next_v1(p_conversation, v_now) n;
    RETURN QUERY
        SELECT m.id, m.turn, m.parent, m.sequence, m.role,
               CASE WHEN NOT v_sent THEN m.text END, m.in_tail, p_status, m.created_at,
               CASE WHEN NOT v_sent THEN m.metadata END, v_next.host, v_next.turn
          FROM (SELECT v_kept AS reply) k LEFT JOIN messages m ON m.id = k.reply;
END $$;

