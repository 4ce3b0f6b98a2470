-- Leases of turns and jobs: renewed by their hosts, and taken back from hosts that are gone.

-- Notes that the host lives, and makes the leases of these turns end later, as far as it holds them and they have not expired.
-- The first row has the number of hosts that live; the others are turns that have their lease from this host. With a lease
-- of zero the host says farewell: it lives until 0.
CREATE FUNCTION masque_heartbeat_v1(p_host uuid, p_turns uuid[], p_lease bigint)
RETURNS TABLE (live_hosts bigint, turn uuid, is_cancelled boolean)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_now  bigint := masque_now_v1();
    v_held uuid[];
BEGIN
    INSERT INTO hosts (id, alive_until) VALUES (p_host, CASE WHEN p_lease = 0 THEN 0 ELSE v_now + p_lease END)
        ON CONFLICT (id) DO UPDATE SET alive_until = excluded.alive_until;
    RETURN QUERY
        SELECT count(*), NULL::uuid, NULL::boolean FROM hosts WHERE id = p_host OR alive_until > v_now;
    IF cardinality(p_turns) = 0 THEN
        RETURN;
    END IF;
    -- One order for all that lock several conversations.
    SELECT array_agg(held.conversation) INTO v_held
      FROM (SELECT l.conversation FROM leases l WHERE l.turn = ANY (p_turns) AND l.host = p_host
             ORDER BY l.conversation FOR UPDATE) held;
    v_now := masque_now_v1();
    RETURN QUERY
        UPDATE leases l SET ends_at = v_now + p_lease
         WHERE l.conversation = ANY (v_held) AND l.ends_at > v_now
        RETURNING NULL::bigint, l.turn, l.is_cancelled;
END $$;

CREATE FUNCTION masque_renew_jobs_v1(p_host uuid, p_jobs uuid[], p_lease bigint) RETURNS void
LANGUAGE sql AS $$
    WITH held AS MATERIALIZED (
        SELECT number FROM jobs
         WHERE id = ANY (p_jobs) AND host = p_host AND status = 'running' AND due_at > masque_now_v1()
         ORDER BY number FOR UPDATE)
    UPDATE jobs SET due_at = masque_now_v1() + p_lease WHERE number IN (SELECT number FROM held);
$$;

-- Interrupts turns whose lease has expired or whose host said farewell, and makes such jobs of other hosts due again. A host
-- that was not heard of keeps its unexpired leases: the database may have been away, and the host takes up its work with it.
-- A job that was running when its host ended `p_max_crashes` times may be what ended it, and is parked. The first row is the
-- number of turns; others are jobs that were parked.
CREATE FUNCTION masque_recover_v1(p_host uuid, p_max_crashes bigint) RETURNS TABLE (turns bigint, parked uuid, error text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_now   bigint := masque_now_v1();
    v_lost  record;
    v_turns bigint := 0;
    v_jobs  bigint[];
BEGIN
    FOR v_lost IN
        SELECT l.conversation, l.turn FROM leases l
         WHERE l.turn IS NOT NULL
           AND (l.ends_at <= v_now
                OR l.host <> p_host AND EXISTS (SELECT 1 FROM hosts h WHERE h.id = l.host AND h.alive_until = 0))
         ORDER BY l.conversation FOR UPDATE OF l SKIP LOCKED
    LOOP
        PERFORM masque_interrupt_v1(v_lost.turn, v_now);
        UPDATE leases l SET turn = NULL, host = NULL, ends_at = NULL WHERE l.conversation = v_lost.conversation;
        v_turns := v_turns + 1;
    END LOOP;
    RETURN QUERY SELECT v_turns, NULL::uuid, NULL::text;

    SELECT array_agg(j.number) INTO v_jobs FROM jobs j
     WHERE j.status = 'running' AND j.host <> p_host
       AND (j.due_at <= v_now OR EXISTS (SELECT 1 FROM hosts h WHERE h.id = j.host AND h.alive_until = 0));
    PERFORM masque_lock_v1(2, (SELECT array_agg(j.queue) FROM jobs j WHERE j.number = ANY (v_jobs)));
    -- Another host may have recovered a job meanwhile, and a third one that lives may run it, so all is asked again.
    v_now := masque_now_v1();
    FOR v_lost IN
        UPDATE jobs j SET status = 'queued', host = NULL, due_at = v_now, crashes = j.crashes + 1
         WHERE j.number = ANY (v_jobs) AND j.status = 'running' AND j.host <> p_host
           AND (j.due_at <= v_now OR EXISTS (SELECT 1 FROM hosts h WHERE h.id = j.host AND h.alive_until = 0))
        RETURNING j.number, j.id, j.queue, j.crashes
    LOOP
        IF v_lost.crashes >= p_max_crashes THEN
            UPDATE jobs j SET status = 'parked', parked_at = v_now, due_at = NULL,
                   error = format('the host ended %s times while it ran this job', v_lost.crashes)
             WHERE j.number = v_lost.number;
            PERFORM masque_advance_v1(v_lost.queue);
            RETURN QUERY SELECT NULL::bigint, v_lost.id,
                                format('the host ended %s times while it ran this job', v_lost.crashes);
        END IF;
    END LOOP;
    -- A farewell counts until nothing names the host. A row that a heartbeat holds is left: it waits for leases.
    DELETE FROM hosts WHERE id IN (
        SELECT h.id FROM hosts h
         WHERE h.alive_until < v_now - 86400000
           AND NOT EXISTS (SELECT 1 FROM leases l WHERE l.turn IS NOT NULL AND l.host = h.id)
           AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.status = 'running' AND j.host = h.id)
           FOR UPDATE OF h SKIP LOCKED);
END $$;

