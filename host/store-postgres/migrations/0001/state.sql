-- State of plugins.

CREATE FUNCTION masque_count_state_v1() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO state_totals AS s (account, tenant, plugin, bytes)
        VALUES (NEW.account, NEW.tenant, NEW.plugin, NEW.bytes)
            ON CONFLICT (account, tenant, plugin) DO UPDATE SET bytes = s.bytes + excluded.bytes;
    ELSIF TG_OP = 'UPDATE' THEN
        UPDATE state_totals SET bytes = bytes + NEW.bytes - OLD.bytes
         WHERE account = NEW.account AND tenant = NEW.tenant AND plugin = NEW.plugin;
    ELSE
        UPDATE state_totals SET bytes = bytes - OLD.bytes
         WHERE account = OLD.account AND tenant = OLD.tenant AND plugin = OLD.plugin;
        DELETE FROM state_totals
         WHERE account = OLD.account AND tenant = OLD.tenant AND plugin = OLD.plugin AND bytes = 0;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER state_added AFTER INSERT OR DELETE ON state FOR EACH ROW EXECUTE FUNCTION masque_count_state_v1();
CREATE TRIGGER state_changed AFTER UPDATE ON state FOR EACH ROW WHEN (NEW.bytes <> OLD.bytes)
    EXECUTE FUNCTION masque_count_state_v1();

-- Ends the transaction because the condition of a write was not met.
CREATE FUNCTION masque_conflict_v1(p_place int, p_reason text, p_number bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a state write met another state' USING
        ERRCODE = 'MQ001',
        DETAIL = json_build_object('index', p_place - 1, 'reason', p_reason, 'number', p_number)::text;
END $$;

-- Adds to a decimal integer of 64 bits; NULL if it is none.
CREATE FUNCTION masque_integer_v1(p_value bytea) RETURNS bigint
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    v_text text := encode(p_value, 'escape');
    v_sum  numeric;
BEGIN
    IF v_text !~ '^[+-]?[0-9]+$' OR length(ltrim(v_text, '+-0')) > 19 THEN
        RETURN NULL;
    END IF;
    v_sum := v_text::numeric;
    IF v_sum NOT BETWEEN -9223372036854775808 AND 9223372036854775807 THEN
        RETURN NULL;
    END IF;
    RETURN v_sum::bigint;
END $$;

-- Locks conversations against their deletion and the end of their turns, in the order of all transactions.
CREATE FUNCTION masque_hold_conversations_v1(p_conversations uuid[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM leases WHERE conversation = ANY (p_conversations) ORDER BY conversation FOR SHARE;
END $$;

-- Applies writes in their order. The first whose condition is not met ends the transaction. The conversations are held.
-- One row for each write: what was done, the version or the sum, and what is stored after it under its quota, if it has one.
CREATE FUNCTION masque_apply_state_v1(
    p_new_user uuid, p_scopes text[], p_tenants text[], p_plugins text[], p_issuers text[], p_subjects text[],
    p_conversations uuid[], p_keys text[], p_changes text[], p_values bytea[], p_if_versions bigint[], p_ttls bigint[],
    p_amounts bigint[], p_quotas bigint[])
RETURNS TABLE (done text, number bigint, stored bigint) LANGUAGE plpgsql AS $$
DECLARE
    c_nil      CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
    v_owners   uuid[] := '{}';
    v_accounts uuid[] := '{}';
    v_names    text[] := '{}';
    v_owner    uuid;
    v_account  uuid;
    v_new      uuid := p_new_user;
    v_now      bigint;
    v_before   bigint;
    v_bytes    bigint;
    v_found    record;
    v_version  bigint;
    v_sum      numeric;
BEGIN
    FOR i IN 1 .. coalesce(cardinality(p_keys), 0) LOOP
        v_owner := c_nil;
        v_account := c_nil;
        IF p_scopes[i] = 'user' THEN
            v_owner := masque_user_v1(p_tenants[i], p_issuers[i], p_subjects[i], v_new);
            v_account := v_owner;
            IF v_owner = v_new THEN
                -- The next user that is made needs another id.
                v_new := gen_random_uuid();
            END IF;
        ELSIF p_scopes[i] = 'conversation' THEN
            SELECT c.id, c.user_id INTO v_owner, v_account
              FROM conversations c JOIN users u ON u.id = c.user_id
             WHERE c.id = p_conversations[i] AND u.tenant = p_tenants[i] AND c.deleted_at IS NULL;
        END IF;
        v_owners := array_append(v_owners, v_owner);
        v_accounts := array_append(v_accounts, v_account);
        v_names := array_append(v_names, concat_ws(E'\n', v_account, p_tenants[i], p_plugins[i]));
    END LOOP;
    PERFORM masque_lock_v1(3, v_names);

    FOR i IN 1 .. coalesce(cardinality(p_keys), 0) LOOP
        v_owner := v_owners[i];
        IF v_owner IS NULL THEN
            PERFORM masque_conflict_v1(i, 'no_conversation', NULL);
        END IF;
        v_now := masque_now_v1();
        IF p_quotas[i] IS NOT NULL THEN
            v_before := coalesce((SELECT bytes FROM state_totals
                WHERE account = v_accounts[i] AND tenant = p_tenants[i] AND plugin = p_plugins[i]), 0);
        END IF;
        SELECT s.value, s.version, s.expires_at INTO v_found FROM state s
         WHERE s.owner = v_owner AND s.tenant = p_tenants[i] AND s.plugin = p_plugins[i] AND s.scope = p_scopes[i]
           AND s.key = p_keys[i] AND s.value IS NOT NULL AND (s.expires_at IS NULL OR s.expires_at > v_now);
        IF p_if_versions[i] <> coalesce(v_found.version, 0) THEN
            PERFORM masque_conflict_v1(i, 'version', coalesce(v_found.version, 0));
        END IF;
        IF p_changes[i] = 'delete' THEN
            UPDATE state s SET value = NULL, version = s.version + 1, expires_at = v_now
             WHERE s.owner = v_owner AND s.tenant = p_tenants[i] AND s.plugin = p_plugins[i] AND s.scope = p_scopes[i]
               AND s.key = p_keys[i] AND s.value IS NOT NULL;
            done := 'deleted';
            number := NULL;
        ELSE
            IF p_changes[i] = 'add' THEN
                IF v_found.version IS NULL THEN
                    v_sum := 0;
                ELSE
                    v_sum := masque_integer_v1(v_found.value);
                END IF;
                IF v_sum IS NULL THEN
                    PERFORM masque_conflict_v1(i, 'not_an_integer', NULL);
                END IF;
                v_sum := v_sum + p_amounts[i];
                IF v_sum NOT BETWEEN -9223372036854775808 AND 9223372036854775807 THEN
                    PERFORM masque_conflict_v1(i, 'overflow', NULL);
                END IF;
            END IF;
            INSERT INTO state AS s (owner, account, tenant, plugin, scope, key, value, version, expires_at)
            VALUES (v_owner, v_accounts[i], p_tenants[i], p_plugins[i], p_scopes[i], p_keys[i],
                    CASE WHEN p_changes[i] = 'add' THEN convert_to(v_sum::text, 'UTF8') ELSE p_values[i] END, 1,
                    CASE WHEN p_changes[i] = 'add' THEN v_found.expires_at ELSE v_now + p_ttls[i] END)
                ON CONFLICT (owner, tenant, plugin, scope, key) DO UPDATE
               SET value = excluded.value, version = s.version + 1, expires_at = excluded.expires_at
            RETURNING s.version INTO v_version;
            done := CASE WHEN p_changes[i] = 'add' THEN 'sum' ELSE 'version' END;
            number := CASE WHEN p_changes[i] = 'add' THEN v_sum::bigint ELSE v_version END;
        END IF;
        stored := NULL;
        IF p_quotas[i] IS NOT NULL THEN
            v_bytes := coalesce((SELECT bytes FROM state_totals
                WHERE account = v_accounts[i] AND tenant = p_tenants[i] AND plugin = p_plugins[i]), 0);
            IF v_bytes > p_quotas[i] AND v_bytes > v_before THEN
                PERFORM masque_conflict_v1(i, 'quota', v_bytes);
            END IF;
            stored := v_bytes;
        END IF;
        RETURN NEXT;
    END LOOP;
END $$;

-- Applies writes on behalf of a turn, a job or nobody. The turn or job is held: it can't end before the writes are
-- committed. One whose lease has expired writes nothing, whether or not someone took it.
CREATE FUNCTION masque_write_state_v1(
    p_turn uuid, p_job uuid, p_epoch bigint,
    p_new_user uuid, p_scopes text[], p_tenants text[], p_plugins text[], p_issuers text[], p_subjects text[],
    p_conversations uuid[], p_keys text[], p_changes text[], p_values bytea[], p_if_versions bigint[], p_ttls bigint[],
    p_amounts bigint[], p_quotas bigint[])
RETURNS TABLE (done text, number bigint, stored bigint) LANGUAGE plpgsql AS $$
DECLARE
    v_is_held boolean := true;
BEGIN
    PERFORM masque_hold_conversations_v1(p_conversations || (SELECT conversation FROM turns WHERE id = p_turn));
    IF p_turn IS NOT NULL THEN
        v_is_held := EXISTS (
            SELECT 1 FROM turns t JOIN leases l ON l.conversation = t.conversation
              JOIN conversations c ON c.id = t.conversation JOIN users u ON u.id = c.user_id
             WHERE t.id = p_turn AND t.epoch = p_epoch AND t.status = 'running' AND l.ends_at > masque_now_v1()
               AND u.subject IS NOT NULL);
    ELSIF p_job IS NOT NULL THEN
        PERFORM 1 FROM jobs
         WHERE id = p_job AND epoch = p_epoch AND status = 'running' AND due_at > masque_now_v1() FOR SHARE;
        v_is_held := FOUND;
    END IF;
    IF NOT v_is_held THEN
        RAISE EXCEPTION 'the turn or job has ended' USING ERRCODE = 'MQ002';
    END IF;
    RETURN QUERY SELECT * FROM masque_apply_state_v1(
        p_new_user, p_scopes, p_tenants, p_plugins, p_issuers, p_subjects, p_conversations, p_keys, p_changes, p_values,
        p_if_versions, p_ttls, p_amounts, p_quotas);
END $$;

-- Removes values that have expired, and leaves their keys with their versions; or removes keys whose value is gone since
-- `p_until`. Values of an account that is being written to are left to the next sweep. Returns how many rows.
CREATE FUNCTION masque_sweep_state_v1(p_absent boolean, p_kept bigint, p_rows bigint, p_bytes bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    v_until bigint := masque_now_v1() - p_kept;
    v_bytes bigint := p_bytes;
    v_swept bigint := 0;
    v_value record;
BEGIN
    FOR v_value IN
        SELECT owner, account, tenant, plugin, scope, key, coalesce(octet_length(value), 0) AS size FROM state
         WHERE absent = p_absent AND expires_at IS NOT NULL AND expires_at <= v_until ORDER BY expires_at LIMIT p_rows
    LOOP
        EXIT WHEN v_bytes <= 0;
        CONTINUE WHEN NOT masque_try_lock_v1(3, concat_ws(E'\n', v_value.account, v_value.tenant, v_value.plugin));
        IF p_absent THEN
            DELETE FROM state
             WHERE owner = v_value.owner AND tenant = v_value.tenant AND plugin = v_value.plugin AND scope = v_value.scope
               AND key = v_value.key AND absent AND expires_at <= v_until;
        ELSE
            UPDATE state SET value = NULL
             WHERE owner = v_value.owner AND tenant = v_value.tenant AND plugin = v_value.plugin AND scope = v_value.scope
               AND key = v_value.key AND NOT absent AND expires_at <= v_until;
        END IF;
        IF FOUND THEN
            v_swept := v_swept + 1;
            v_bytes := v_bytes - v_value.size;
        END IF;
    END LOOP;
    RETURN v_swept;
END $$;

