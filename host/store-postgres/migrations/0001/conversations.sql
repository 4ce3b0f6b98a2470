-- Conversations: made, renamed, deleted, and their rows removed in batches.

-- Returns the time, or NULL if the id is taken, also by a deleted conversation whose rows are still being removed.
CREATE FUNCTION masque_create_conversation_v1(
    p_tenant text, p_issuer text, p_subject text, p_new_user uuid, p_conversation uuid, p_companion text, p_title text,
    p_greeting uuid, p_text text, p_metadata text)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_user uuid := masque_user_v1(p_tenant, p_issuer, p_subject, p_new_user);
    v_now  bigint := masque_now_v1();
BEGIN
    INSERT INTO conversations (id, user_id, companion, title, created_at)
    VALUES (p_conversation, v_user, p_companion, p_title, v_now) ON CONFLICT (id) DO NOTHING;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    INSERT INTO leases (conversation, epoch, last_sequence, updated_at)
    VALUES (p_conversation, 0, CASE WHEN p_greeting IS NULL THEN 0 ELSE 1 END, v_now);
    IF p_greeting IS NOT NULL THEN
        INSERT INTO messages (id, conversation, sequence, role, in_tail, text, metadata, created_at)
        VALUES (p_greeting, p_conversation, 1, 'assistant', true, p_text, p_metadata, v_now);
    END IF;
    RETURN v_now;
END $$;

CREATE FUNCTION masque_rename_v1(p_tenant text, p_issuer text, p_subject text, p_conversation uuid, p_title text)
RETURNS TABLE (id uuid, companion text, title text, created_at bigint, updated_at bigint, last_sequence bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_now bigint;
BEGIN
    PERFORM 1 FROM leases l WHERE l.conversation = p_conversation FOR UPDATE;
    v_now := masque_now_v1();
    UPDATE conversations c SET title = p_title
      FROM users u
     WHERE c.id = p_conversation AND c.deleted_at IS NULL AND u.id = c.user_id
       AND u.subject = p_subject AND u.issuer = p_issuer AND u.tenant = p_tenant;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    UPDATE leases l SET updated_at = v_now WHERE l.conversation = p_conversation;
    RETURN QUERY
        SELECT c.id, c.companion, c.title, c.created_at, l.updated_at, l.last_sequence
          FROM conversations c JOIN leases l ON l.conversation = c.id WHERE c.id = p_conversation;
END $$;

-- Removes heads of queues and makes the next jobs heads. The queues are locked.
CREATE FUNCTION masque_remove_jobs_v1(p_numbers bigint[]) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    v_removed bigint := 0;
    v_queues  text[] := '{}';
    v_job     record;
    v_queue   text;
BEGIN
    FOR v_job IN DELETE FROM jobs WHERE number = ANY (p_numbers) RETURNING queue, due_at IS NOT NULL AS is_head LOOP
        v_removed := v_removed + 1;
        IF v_job.is_head THEN
            v_queues := v_queues || v_job.queue;
        END IF;
    END LOOP;
    -- Only now, so that no job that is removed here becomes the head.
    FOREACH v_queue IN ARRAY v_queues LOOP
        PERFORM masque_advance_v1(v_queue);
    END LOOP;
    RETURN v_removed;
END $$;

-- Removes the leases of conversations that were just marked deleted, so that a running turn can't end, their tickets, and their
-- jobs at the head of a queue, at most one for each plugin. The sweep removes the rest: readers and later operations check
-- `deleted_at`. The caller has locked the leases.
CREATE FUNCTION masque_release_deleted_v1(p_conversations uuid[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    v_heads bigint[];
BEGIN
    DELETE FROM leases WHERE conversation = ANY (p_conversations);
    DELETE FROM tickets WHERE conversation = ANY (p_conversations);
    PERFORM masque_lock_v1(2, (
        SELECT array_agg(queue) FROM jobs WHERE conversation = ANY (p_conversations) AND due_at IS NOT NULL));
    SELECT array_agg(number) INTO v_heads FROM jobs WHERE conversation = ANY (p_conversations) AND due_at IS NOT NULL;
    PERFORM masque_remove_jobs_v1(v_heads);
END $$;

-- Marks a conversation deleted.
CREATE FUNCTION masque_delete_conversation_v1(p_tenant text, p_issuer text, p_subject text, p_conversation uuid)
RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM leases WHERE conversation = p_conversation FOR UPDATE;
    UPDATE conversations c SET deleted_at = masque_now_v1()
      FROM users u
     WHERE c.id = p_conversation AND c.deleted_at IS NULL AND u.id = c.user_id
       AND u.subject = p_subject AND u.issuer = p_issuer AND u.tenant = p_tenant;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM masque_release_deleted_v1(ARRAY[p_conversation]);
    RETURN true;
END $$;

-- Marks at most `p_rows` conversations of all users deleted in which nothing has happened for `p_idle` milliseconds, those that
-- are idle for the longest, and returns how many. One in which a turn runs is left, and so is one that another transaction
-- holds: it is in use, or goes at the same time.
CREATE FUNCTION masque_forget_conversations_v1(p_idle bigint, p_rows bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    v_now  bigint := masque_now_v1();
    v_idle uuid[];
BEGIN
    SELECT array_agg(held.conversation) INTO v_idle
      FROM (SELECT l.conversation FROM leases l WHERE l.turn IS NULL AND l.updated_at <= v_now - p_idle
             ORDER BY l.updated_at LIMIT p_rows FOR UPDATE SKIP LOCKED) held;
    IF v_idle IS NULL THEN
        RETURN 0;
    END IF;
    UPDATE conversations SET deleted_at = v_now WHERE id = ANY (v_idle) AND deleted_at IS NULL;
    PERFORM masque_release_deleted_v1(v_idle);
    RETURN cardinality(v_idle);
END $$;

-- Removes rows of one deleted conversation within a budget of rows and bytes: of `p_conversation`, or of the one that was
-- deleted first and that nobody else removes. No row: there is none.
CREATE FUNCTION masque_remove_conversation_v1(p_conversation uuid, p_rows bigint, p_bytes bigint)
RETURNS TABLE (
    rows_removed bigint, rows_left bigint, bytes_left bigint, is_finished boolean,
    messages_removed bigint, turns_removed bigint, keys_removed bigint, jobs_removed bigint, values_removed bigint)
LANGUAGE plpgsql AS $$
DECLARE
    v_id      uuid;
    v_rows    bigint := p_rows;
    v_bytes   bigint := p_bytes;
    v_removed bigint := 0;
    v_count   bigint;
    v_size    bigint;
    v_turns   uuid[];
    v_numbers bigint[];
    v_value   record;
BEGIN
    SELECT id INTO v_id FROM conversations
     WHERE deleted_at IS NOT NULL AND (p_conversation IS NULL OR id = p_conversation)
     ORDER BY deleted_at LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF v_id IS NULL THEN
        RETURN;
    END IF;

    -- Records of its turns. No new ones come, since the conversation is marked.
    WITH batch AS MATERIALIZED (
        SELECT turn, attempt, bytes, sum(bytes) OVER (ORDER BY turn, attempt) - bytes AS before
          FROM (SELECT turn, attempt, bytes FROM turn_records WHERE conversation = v_id
                 ORDER BY turn, attempt LIMIT v_rows) r),
    gone AS (
        DELETE FROM turn_records
         WHERE conversation = v_id AND (turn, attempt) IN (SELECT turn, attempt FROM batch WHERE before < v_bytes)
        RETURNING 1)
    SELECT count(*), coalesce(sum(bytes), 0) INTO v_count, v_size FROM batch WHERE before < v_bytes;
    v_removed := v_removed + v_count;
    v_rows := v_rows - v_count;
    v_bytes := greatest(v_bytes - v_size, 0);

    -- Messages with their turns and the idempotency keys of these.
    WITH batch AS MATERIALIZED (
        SELECT sequence, turn, size, sum(size) OVER (ORDER BY sequence) - size AS before
          FROM (SELECT sequence, turn,
                       octet_length(text) + coalesce(octet_length(content), 0) + octet_length(metadata) AS size
                  FROM messages WHERE conversation = v_id ORDER BY sequence LIMIT v_rows) m),
    gone AS (
        DELETE FROM messages WHERE conversation = v_id AND sequence IN (SELECT sequence FROM batch WHERE before < v_bytes)
        RETURNING sequence)
    SELECT count(*), coalesce(sum(size), 0), array_agg(DISTINCT turn) INTO v_count, v_size, v_turns
      FROM batch WHERE before < v_bytes;
    messages_removed := v_count;
    DELETE FROM idempotency_keys i USING turns t
     WHERE t.id = ANY (v_turns) AND i.expires_at = t.key_expires_at AND i.turn = t.id;
    GET DIAGNOSTICS keys_removed = ROW_COUNT;
    DELETE FROM turns WHERE id = ANY (v_turns);
    GET DIAGNOSTICS turns_removed = ROW_COUNT;
    jobs_removed := 0;
    values_removed := 0;
    v_removed := v_removed + v_count;
    v_rows := v_rows - v_count;
    v_bytes := greatest(v_bytes - v_size, 0);

    -- Jobs. No new ones come, since no turn of the conversation can end.
    IF v_rows > 0 AND v_bytes > 0 THEN
        SELECT array_agg(number), coalesce(sum(size), 0) INTO v_numbers, v_size
          FROM (SELECT number, size, sum(size) OVER (ORDER BY number) - size AS before
                  FROM (SELECT number, octet_length(payload) AS size FROM jobs WHERE conversation = v_id LIMIT v_rows) j) b
         WHERE before < v_bytes;
        PERFORM masque_lock_v1(2, (SELECT array_agg(queue) FROM jobs WHERE number = ANY (v_numbers)));
        v_count := masque_remove_jobs_v1(v_numbers);
        jobs_removed := v_count;
        v_removed := v_removed + v_count;
        v_rows := v_rows - v_count;
        v_bytes := greatest(v_bytes - v_size, 0);
    END IF;

    -- State.
    IF v_rows > 0 AND v_bytes > 0 THEN
        PERFORM masque_lock_v1(3, (
            SELECT array_agg(DISTINCT concat_ws(E'\n', account, tenant, plugin)) FROM state
             WHERE owner = v_id AND scope = 'conversation'));
        FOR v_value IN
            SELECT tenant, plugin, key, coalesce(octet_length(value), 0) AS size FROM state
             WHERE owner = v_id AND scope = 'conversation' LIMIT v_rows
        LOOP
            EXIT WHEN v_rows <= 0 OR v_bytes <= 0;
            DELETE FROM state
             WHERE owner = v_id AND tenant = v_value.tenant AND plugin = v_value.plugin AND scope = 'conversation'
               AND key = v_value.key;
            values_removed := values_removed + 1;
            v_removed := v_removed + 1;
            v_rows := v_rows - 1;
            v_bytes := greatest(v_bytes - v_value.size, 0);
        END LOOP;
    END IF;

    -- A budget that is not spent ran out of rows to remove.
    is_finished := v_rows > 0 AND v_bytes > 0;
    IF is_finished THEN
        DELETE FROM conversations WHERE id = v_id;
        v_removed := v_removed + 1;
        v_rows := v_rows - 1;
    END IF;
    rows_removed := v_removed;
    rows_left := v_rows;
    bytes_left := v_bytes;
    RETURN NEXT;
END $$;

