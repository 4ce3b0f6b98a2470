-- Jobs: taken fairly across plugins and users, and ended.

-- Takes due heads of queues of some plugins (NULL: of any) for a host. The next one is of the plugin with the fewest jobs running on the host, and no
-- plugin and no user has more running than the limits allow. Nothing grows with the number of jobs: a plugin's due heads
-- are a range of one index, and those that are passed over are of users at their limit.
--
-- Heads of deleted conversations and erased users are removed and heads of an unknown kind are parked; both uncover the next job of their
-- queue, and at most 256 are dropped in one call. Heads that another transaction holds are passed over, since waiting for
-- a queue while jobs are held could deadlock.
--
-- A job whose lease ended on another host counts as one that ended its host, as in `masque_recover_v1`: who comes first counts
-- it. With `p_max_crashes` of them it may be what ended the hosts, and is parked. A host that takes its own job again lives.
--
-- Rows with an `id` are jobs that were taken; with `problem`, a job that was parked. The last row has the time until
-- another job can be taken.
CREATE FUNCTION masque_take_jobs_v1(
    p_host uuid, p_lease bigint, p_total bigint, p_per_user bigint, p_per_plugin bigint, p_kinds text[],
    p_plugins text[], p_max_crashes bigint)
RETURNS TABLE (
    id uuid, tenant text, issuer text, subject text, conversation uuid, turn uuid, plugin text, kind text, payload text,
    attempt bigint, epoch bigint, problem text, next_due bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_now     bigint := masque_now_v1();
    v_taken   bigint[] := '{}';
    v_passed  bigint[] := '{}';
    v_dropped int := 0;
    v_head    record;
    v_job     record;
    v_crashes bigint;
    v_problem text;
    v_due     bigint;
BEGIN
    LOOP
        -- The best head that is left. With `p_total` jobs taken, it only tells whether there is one.
        WITH RECURSIVE plugins AS (
            (SELECT j.plugin, j.due_at AS first_due FROM jobs j WHERE j.due_at IS NOT NULL ORDER BY j.plugin, j.due_at LIMIT 1)
            UNION ALL
            SELECT n.plugin, n.first_due FROM plugins p CROSS JOIN LATERAL (
                SELECT j.plugin, j.due_at AS first_due FROM jobs j
                 WHERE j.due_at IS NOT NULL AND j.plugin > p.plugin ORDER BY j.plugin, j.due_at LIMIT 1) n),
        mine AS MATERIALIZED (
            SELECT j.plugin, j.user_id FROM jobs j
             WHERE j.status = 'running' AND j.host = p_host AND (j.due_at > v_now OR j.number = ANY (v_taken))),
        open AS MATERIALIZED (
            SELECT p.plugin, p.first_due, (SELECT count(*) FROM mine m WHERE m.plugin = p.plugin) AS running
              FROM plugins p WHERE p_plugins IS NULL OR p.plugin = ANY (p_plugins)),
        heads AS (
            SELECT o.plugin, o.first_due, o.running, h.*
              FROM open o LEFT JOIN LATERAL (
                   SELECT j.number, j.due_at, j.queue, j.user_id,
                          u.subject IS NULL OR j.conversation IS NOT NULL AND (c.id IS NULL OR c.deleted_at IS NOT NULL)
                              AS is_orphan
                     FROM jobs j LEFT JOIN conversations c ON c.id = j.conversation LEFT JOIN users u ON u.id = j.user_id
                    WHERE j.due_at IS NOT NULL AND j.plugin = o.plugin AND j.due_at <= v_now
                      AND NOT j.number = ANY (v_taken) AND NOT j.number = ANY (v_passed)
                      AND (SELECT count(*) FROM mine m WHERE m.user_id = j.user_id) < p_per_user
                    ORDER BY j.due_at, j.number LIMIT 1) h ON true
             WHERE o.running < p_per_plugin)
        SELECT heads.number, heads.queue, heads.is_orphan,
               CASE WHEN heads.number IS NOT NULL THEN v_now
                    WHEN heads.first_due > v_now THEN heads.first_due
                    ELSE (SELECT j.due_at FROM jobs j WHERE j.due_at IS NOT NULL AND j.plugin = heads.plugin
                             AND j.due_at > v_now ORDER BY j.due_at LIMIT 1)
               END AS next
          INTO v_head FROM heads
         ORDER BY (heads.number IS NULL), CASE WHEN heads.number IS NOT NULL THEN heads.running END, heads.due_at,
                  heads.number, next
         LIMIT 1;
        v_due := v_head.next;
        EXIT WHEN v_head.number IS NULL OR cardinality(v_taken) >= p_total OR v_dropped >= 256;

        IF v_head.is_orphan THEN
            v_dropped := v_dropped + 1;
            IF masque_try_lock_v1(2, v_head.queue) THEN
                PERFORM masque_remove_jobs_v1(ARRAY[v_head.number]);
                -- The next job of the queue is due since a moment ago.
                v_now := masque_now_v1();
            ELSE
                v_passed := v_passed || v_head.number;
            END IF;
            CONTINUE;
        END IF;
        SELECT j.* INTO v_job FROM jobs j
         WHERE j.number = v_head.number AND j.due_at <= v_now FOR UPDATE SKIP LOCKED;
        IF v_job.number IS NULL THEN
            v_passed := v_passed || v_head.number;
            CONTINUE;
        END IF;
        v_crashes := v_job.crashes + (v_job.status = 'running' AND v_job.host <> p_host)::int;
        v_problem := CASE
            WHEN v_crashes > v_job.crashes AND v_crashes >= p_max_crashes
                THEN format('the host ended %s times while it ran this job', v_crashes)
            WHEN NOT v_job.kind = ANY (p_kinds) THEN format('`%s` is no kind of job that this version knows', v_job.kind)
            WHEN v_job.conversation IS NULL OR v_job.turn IS NULL THEN 'it names no conversation or no turn'
        END;
        IF v_problem IS NOT NULL THEN
            v_dropped := v_dropped + 1;
            IF masque_try_lock_v1(2, v_job.queue) THEN
                UPDATE jobs j SET status = 'parked', parked_at = masque_now_v1(), host = NULL, due_at = NULL, error = v_problem,
                       crashes = v_crashes
                 WHERE j.number = v_job.number;
                PERFORM masque_advance_v1(v_job.queue);
                v_now := masque_now_v1();
                RETURN QUERY SELECT v_job.id, NULL, NULL, NULL, v_job.conversation, v_job.turn, v_job.plugin, v_job.kind,
                                    NULL, v_job.attempt, v_job.epoch, v_problem, NULL::bigint;
            ELSE
                v_passed := v_passed || v_job.number;
            END IF;
            CONTINUE;
        END IF;
        UPDATE jobs j SET status = 'running', host = p_host, due_at = v_now + p_lease, attempt = j.attempt + 1,
               epoch = j.epoch + 1, crashes = v_crashes
         WHERE j.number = v_job.number;
        v_taken := v_taken || v_job.number;
        RETURN QUERY
            SELECT v_job.id, u.tenant, u.issuer, u.subject, v_job.conversation, v_job.turn, v_job.plugin, v_job.kind,
                   v_job.payload, v_job.attempt + 1, v_job.epoch + 1, NULL, NULL::bigint
              FROM users u WHERE u.id = v_job.user_id;
    END LOOP;
    IF cardinality(v_passed) > 0 THEN
        -- What was passed over may be free by then.
        v_due := least(v_due, v_now + 100);
    END IF;
    RETURN QUERY SELECT NULL::uuid, NULL, NULL, NULL, NULL::uuid, NULL::uuid, NULL, NULL, NULL, NULL::bigint, NULL::bigint,
                        NULL, CASE WHEN v_due IS NOT NULL THEN greatest(v_due - v_now, 0) END;
END $$;

-- Locks the queue of a job that runs with this epoch, then the job. NULL if there is no such job, or its lease has expired.
CREATE FUNCTION masque_hold_job_v1(p_job uuid, p_epoch bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    v_number bigint;
BEGIN
    PERFORM masque_lock_v1(2, (SELECT array_agg(queue) FROM jobs WHERE id = p_job));
    SELECT number INTO v_number FROM jobs
     WHERE id = p_job AND epoch = p_epoch AND status = 'running' AND due_at > masque_now_v1() FOR UPDATE;
    RETURN v_number;
END $$;

CREATE FUNCTION masque_complete_job_v1(
    p_job uuid, p_epoch bigint,
    p_new_user uuid, p_scopes text[], p_tenants text[], p_plugins text[], p_issuers text[], p_subjects text[],
    p_conversations uuid[], p_keys text[], p_changes text[], p_values bytea[], p_if_versions bigint[], p_ttls bigint[],
    p_amounts bigint[], p_quotas bigint[])
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_number bigint;
BEGIN
    PERFORM masque_hold_conversations_v1(p_conversations);
    v_number := masque_hold_job_v1(p_job, p_epoch);
    IF v_number IS NULL THEN
        RETURN false;
    END IF;
    PERFORM masque_remove_jobs_v1(ARRAY[v_number]);
    PERFORM * FROM masque_apply_state_v1(
        p_new_user, p_scopes, p_tenants, p_plugins, p_issuers, p_subjects, p_conversations, p_keys, p_changes, p_values,
        p_if_versions, p_ttls, p_amounts, p_quotas);
    RETURN true;
END $$;

CREATE FUNCTION masque_park_job_v1(p_job uuid, p_epoch bigint, p_error text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    v_number bigint := masque_hold_job_v1(p_job, p_epoch);
    v_queue  text;
BEGIN
    UPDATE jobs SET status = 'parked', parked_at = masque_now_v1(), host = NULL, due_at = NULL, error = p_error WHERE number = v_number
    RETURNING queue INTO v_queue;
    IF FOUND THEN
        PERFORM masque_advance_v1(v_queue);
    END IF;
END $$;

-- Puts a parked job back at its place in its queue. It has a lower number than later jobs, so a queued head loses its due
-- time. If a job of the queue is running, this job becomes the head when that one ends.
CREATE FUNCTION masque_retry_parked_v1(p_job uuid) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    v_queue text;
BEGIN
    SELECT queue INTO v_queue FROM jobs WHERE id = p_job;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM masque_lock_v1(2, ARRAY[v_queue]);
    UPDATE jobs j SET status = 'queued', parked_at = NULL, attempt = 0, crashes = 0, error = NULL
     WHERE j.id = p_job AND j.status = 'parked'
       AND NOT EXISTS (SELECT 1 FROM conversations c WHERE c.id = j.conversation AND c.deleted_at IS NOT NULL);
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE jobs SET due_at = NULL WHERE queue = v_queue AND due_at IS NOT NULL AND status = 'queued';
    IF NOT EXISTS (SELECT 1 FROM jobs WHERE queue = v_queue AND due_at IS NOT NULL) THEN
        PERFORM masque_advance_v1(v_queue);
    END IF;
    RETURN true;
END $$;

