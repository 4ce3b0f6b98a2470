-- The active set: generations are published, prepared by every host, and activated or refused.

-- The hosts that live and have not prepared a generation, one line for each, with the reason. NULL: there are none.
CREATE FUNCTION masque_unprepared_v1(p_number bigint) RETURNS text
LANGUAGE sql AS $$
    SELECT string_agg(format('%s (%s): %s', s.name, s.host, coalesce(p.problem, 'it has not reported yet')), E'\n'
                      ORDER BY s.name, s.host)
      FROM set_hosts s
      JOIN hosts h ON h.id = s.host AND h.alive_until > masque_now_v1()
      LEFT JOIN preparations p ON p.generation = p_number AND p.host = s.host
     WHERE p.host IS NULL OR p.problem IS NOT NULL;
$$;

-- Adds an entry of the audit log about a generation.
CREATE FUNCTION masque_audit_set_v1(
    p_entry uuid, p_actor text, p_action text, p_number bigint, p_outcome text, p_detail jsonb) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO audit (id, at, tenant, actor, action, target, outcome, detail)
    VALUES (p_entry, masque_now_v1(), 'default', p_actor, p_action, 'generation:' || p_number, p_outcome, p_detail::text);
$$;

-- Whether all pieces of a component are here.
CREATE FUNCTION masque_has_component_v1(p_digest text) RETURNS boolean
LANGUAGE sql AS $$
    SELECT EXISTS (SELECT 1 FROM components c
                    WHERE c.digest = p_digest
                      AND c.bytes = (SELECT coalesce(sum(octet_length(k.bytes)), 0) FROM component_chunks k
                                      WHERE k.digest = c.digest));
$$;

-- Publishes a generation unless something stands against it; the outcome says what, with the number that it is about.
-- Removes generations over `p_kept`, and components that nobody needs.
CREATE FUNCTION masque_publish_set_v1(
    p_base bigint, p_revision bigint, p_digest text, p_content text, p_components text[], p_prepare bigint, p_kept int,
    p_name text, p_entry uuid)
RETURNS TABLE (outcome text, number bigint, component text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_now     bigint;
    v_set     record;
    v_same    record;
    v_current bigint;
    v_missing text;
BEGIN
    SELECT s.newest, s.active, s.published INTO v_set FROM active_set s FOR UPDATE;
    SELECT g.number, g.digest, g.status INTO v_same FROM generations g
     WHERE g.revision = p_revision ORDER BY g.number DESC LIMIT 1;
    SELECT max(g.revision) INTO v_current FROM generations g WHERE g.number IN (v_set.active, v_set.published);
    -- 0 stands for a file without a revision, which may be corrected until a generation is active.
    IF v_same.number IS NOT NULL AND v_same.digest <> p_digest AND (p_revision <> 0 OR v_current IS NOT NULL) THEN
        RETURN QUERY SELECT 'other_content', v_same.number, NULL::text;
        RETURN;
    END IF;
    IF v_same.digest = p_digest AND v_same.status IN ('published', 'active') THEN
        RETURN QUERY SELECT 'unchanged', v_same.number, NULL::text;
        RETURN;
    END IF;
    IF p_revision < v_current THEN
        RETURN QUERY SELECT 'lower', v_current, NULL::text;
        RETURN;
    END IF;
    IF v_set.published IS NOT NULL THEN
        RETURN QUERY SELECT 'busy', v_set.published, NULL::text;
        RETURN;
    END IF;
    IF v_set.newest <> p_base THEN
        RETURN QUERY SELECT 'outdated', v_set.newest, NULL::text;
        RETURN;
    END IF;
    SELECT c.digest INTO v_missing FROM unnest(p_components) AS c (digest)
     WHERE NOT masque_has_component_v1(c.digest) LIMIT 1;
    IF v_missing IS NOT NULL THEN
        RETURN QUERY SELECT 'missing_component', NULL::bigint, v_missing;
        RETURN;
    END IF;

    v_now := masque_now_v1();
    INSERT INTO generations (number, revision, digest, content, components, status, published_by, published_at, prepare_until)
    VALUES (p_base + 1, p_revision, p_digest, p_content, p_components, 'published', p_name, v_now, v_now + p_prepare);
    UPDATE active_set s SET newest = p_base + 1, published = p_base + 1;
    DELETE FROM generations g WHERE g.number <= p_base + 1 - p_kept AND g.number IS DISTINCT FROM v_set.active;
    DELETE FROM components c WHERE c.added_at < v_now - 3600000
       AND NOT EXISTS (SELECT 1 FROM generations g WHERE c.digest = ANY (g.components));
    DELETE FROM set_hosts s WHERE s.joined_at < v_now - 86400000
       AND NOT EXISTS (SELECT 1 FROM hosts h WHERE h.id = s.host);
    PERFORM masque_audit_set_v1(p_entry, p_name, 'active_set.publish', p_base + 1, 'ok',
                                jsonb_build_object('revision', p_revision, 'digest', p_digest));
    RETURN QUERY SELECT 'published', p_base + 1, NULL::text;
END $$;

-- Activates a published generation that all hosts have prepared, and refuses one whose time is over. Returns what became of
-- it, or `published` with the hosts that it waits for. No row: there is no such generation.
CREATE FUNCTION masque_decide_set_v1(p_number bigint, p_name text, p_entry uuid)
RETURNS TABLE (status text, problem text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_now        bigint;
    v_generation record;
    v_unprepared text;
    v_is_ready   boolean;
    v_is_locked  boolean := false;
BEGIN
    -- First without a lock: mostly there is nothing to do. Then again under the lock of all changes.
    LOOP
        v_now := masque_now_v1();
        SELECT g.status, g.problem, g.revision, g.prepare_until INTO v_generation FROM generations g WHERE g.number = p_number;
        IF v_generation.status IS NULL THEN
            RETURN;
        END IF;
        IF v_generation.status <> 'published' THEN
            RETURN QUERY SELECT v_generation.status, v_generation.problem;
            RETURN;
        END IF;
        v_unprepared := masque_unprepared_v1(p_number);
        -- At least the host that publishes has to be able to.
        v_is_ready := v_unprepared IS NULL
            AND EXISTS (SELECT 1 FROM preparations p WHERE p.generation = p_number AND p.problem IS NULL);
        IF NOT v_is_ready AND v_now < v_generation.prepare_until THEN
            RETURN QUERY SELECT v_generation.status, coalesce(v_unprepared, '');
            RETURN;
        END IF;
        EXIT WHEN v_is_locked;
        PERFORM 1 FROM active_set s FOR UPDATE;
        v_is_locked := true;
    END LOOP;

    IF v_is_ready THEN
        UPDATE generations g SET status = 'replaced' WHERE g.status = 'active';
        UPDATE generations g SET status = 'active', decided_at = v_now WHERE g.number = p_number;
        UPDATE active_set s SET active = p_number, published = NULL;
        PERFORM masque_audit_set_v1(p_entry, p_name, 'active_set.activate', p_number, 'ok',
                                    jsonb_build_object('revision', v_generation.revision));
        RETURN QUERY SELECT 'active', NULL::text;
        RETURN;
    END IF;
    v_unprepared := coalesce(v_unprepared, 'no host has prepared it');
    UPDATE generations g SET status = 'refused', decided_at = v_now, problem = v_unprepared WHERE g.number = p_number;
    UPDATE active_set s SET published = NULL;
    PERFORM masque_audit_set_v1(p_entry, p_name, 'active_set.refuse', p_number, 'refused',
                                jsonb_build_object('revision', v_generation.revision, 'problem', v_unprepared));
    RETURN QUERY SELECT 'refused', v_unprepared;
END $$;

