# The machine that the deployment guide is followed on: stand-ins for what only root may do, and for servers of the machine.
# Read by bash before the commands of the guide. Their absolute paths are below $ROOT, and their ports are free ones.
#
#   ROOT      the folder that stands for the machine
#   BINARY    the host's binary
#   CHECKOUT  the repository
#   MACHINE   the folder of this file
#   PGPORT    a PostgreSQL server whose user `postgres` needs no password
#   REDIS     a free port
set -euo pipefail

mkdir -p "$ROOT"/{stand-ins,etc/redis,etc/systemd/system,usr/bin,run,checkout/target/release,other}
cd "$ROOT/checkout"
ln -s "$BINARY" target/release/masque
ln -s "$CHECKOUT/deploy" deploy
printf 'port %s\nbind 127.0.0.1\ndir %s\n' "$REDIS" "$ROOT/run" >"$ROOT/etc/redis/redis.conf"

stand_in() { # NAME, with its script as input
    cat >"$ROOT/stand-ins/$1"
    chmod +x "$ROOT/stand-ins/$1"
}

# Commands of another user are run by this one. Variables may be secret, and others can read a command line.
stand_in sudo <<'END'
#!/bin/bash
[[ "$*" != *_URL=* ]] || { echo "a variable is on the command line of sudo: $*" >&2; exit 1; }
while [[ ${1-} == -* ]]; do
    [[ $1 == -u ]] && shift
    shift
done
exec "$@"
END
stand_in runuser <<'END'
#!/bin/bash
[[ "$1 ${3-}" == "-u --" ]] || exit 1
exec "${@:4}"
END
# Without the owner and group of others.
stand_in install <<'END'
#!/bin/bash
words=()
while (($#)); do
    case $1 in
    -o | -g) shift ;;
    *) words+=("$1") ;;
    esac
    shift
done
exec /usr/bin/install "${words[@]}"
END
for done_already in apt-get useradd cargo; do
    stand_in "$done_already" <<<'#!/bin/sh'
done
for program in createuser createdb psql pg_dump; do
    stand_in "$program" <<END
#!/bin/sh
PGHOST=127.0.0.1 PGPORT=$PGPORT PGUSER=postgres exec /usr/bin/$program "\$@"
END
done
# The backup is as old as one of the last night: the host that ran when it was made does not count as one that lives.
stand_in pg_restore <<END
#!/bin/sh
set -e
PGHOST=127.0.0.1 PGPORT=$PGPORT PGUSER=postgres /usr/bin/pg_restore "\$@"
psql --quiet --command='UPDATE hosts SET alive_until = alive_until - 86400000' restored
END
# The other machine, which has the private key of the backups, is the folder `other`.
stand_in ssh <<END
#!/bin/bash
case \$1 in
masque.example.com) cd "$ROOT/checkout" ;;
backup.example.com) cd "$ROOT/other" ;;
*) exit 255 ;;
esac
exec bash -c "\${*:2}"
END
stand_in journalctl <<END
#!/bin/sh
exec cat "$ROOT/run/masque.log"
END
stand_in systemctl <<END
#!/bin/sh
exec python3 "$MACHINE/systemctl.py" "\$@"
END

export ROOT
export PATH="$ROOT/stand-ins:$ROOT/usr/bin:$PATH"

# Stops the services when the guide has been followed, and when the test that holds standard input has ended.
stop_services() {
    local file
    for file in "$ROOT"/run/*.pid; do
        [ -e "$file" ] && kill -KILL "$(cat "$file")" 2>/dev/null
    done
    return 0
}
{ cat; stop_services; kill -TERM $$; } <&0 >/dev/null 2>&1 &
watcher=$!
trap 'kill $watcher; stop_services' EXIT
exec </dev/null
