-- Functions that the others use. Every function carries a version: a later migration adds the next version beside it, so
-- that hosts of both releases run on one database.

-- The database's clock in milliseconds since the Unix epoch. Within a transaction it goes on.
CREATE FUNCTION masque_now_v1() RETURNS bigint
LANGUAGE sql VOLATILE
RETURN floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint;

-- Locks names of one kind until the transaction ends, in one order for all transactions. Names with the same hash share
-- a lock. Kinds: 1 idempotency keys, 2 queues, 3 accounts of state, 4 the sweep of records; 0 is taken by a copy of another database, in Rust. The
-- first number keeps them apart from the locks of other programs in the database.
CREATE FUNCTION masque_lock_v1(p_kind int, p_names text[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    v_hash int;
BEGIN
    FOR v_hash IN SELECT DISTINCT hashtext(name) FROM unnest(p_names) AS name ORDER BY 1 LOOP
        PERFORM pg_advisory_xact_lock(1296126545 + p_kind, v_hash);
    END LOOP;
END $$;

-- The same for one name, without waiting. Returns whether it has the lock.
CREATE FUNCTION masque_try_lock_v1(p_kind int, p_name text) RETURNS boolean
LANGUAGE sql
RETURN pg_try_advisory_xact_lock(1296126545 + p_kind, hashtext(p_name));

-- The id of a user, made as `p_new` if there is none.
CREATE FUNCTION masque_user_v1(p_tenant text, p_issuer text, p_subject text, p_new uuid) RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
    v_user uuid;
BEGIN
    SELECT id INTO v_user FROM users WHERE subject = p_subject AND issuer = p_issuer AND tenant = p_tenant;
    IF v_user IS NULL AND p_new IS NOT NULL THEN
        INSERT INTO users (id, tenant, issuer, subject) VALUES (p_new, p_tenant, p_issuer, p_subject)
            ON CONFLICT (subject, issuer, tenant) DO NOTHING;
        SELECT id INTO v_user FROM users WHERE subject = p_subject AND issuer = p_issuer AND tenant = p_tenant;
    END IF;
    RETURN v_user;
END $$;

-- The queue of a user's jobs for one plugin.
CREATE FUNCTION masque_queue_v1(p_user uuid, p_plugin text) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN replace(p_user::text, '-', '') || '/' || p_plugin;

-- Makes the first job of a queue its head. The queue is locked and has none.
CREATE FUNCTION masque_advance_v1(p_queue text) RETURNS void
LANGUAGE sql AS $$
    UPDATE jobs SET due_at = masque_now_v1()
     WHERE number = (SELECT number FROM jobs WHERE queue = p_queue AND status <> 'parked' ORDER BY number LIMIT 1);
$$;

-- Marks a running turn interrupted whose lease was lost. Its epoch is removed, so that no later write can end it.
CREATE FUNCTION masque_interrupt_v1(p_turn uuid, p_now bigint) RETURNS void
LANGUAGE sql AS $$
    UPDATE turns SET status = 'interrupted', epoch = NULL, finish = 'interrupted', ended_at = p_now
     WHERE id = p_turn AND status = 'running';
$$;

