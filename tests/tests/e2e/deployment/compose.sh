# The machine that the commands for backups with Compose are followed on. Read by bash before them.
#
#   ROOT    the folder that stands for the checkout, with `backup-recipients`
#   BINARY  the host's binary
#   PGPORT  a PostgreSQL server whose users `postgres` and `masque` need no password
set -euo pipefail

mkdir -p "$ROOT"/{stand-ins,deploy/data}
cd "$ROOT"

# Runs what would run in a container: programs of PostgreSQL, and commands of the host, whose data folder is `deploy/data`.
cat >stand-ins/docker <<END
#!/bin/bash
set -euo pipefail
[ "\$1 \$2 \$3" = "compose --file deploy/compose.yaml" ]
export PGHOST=127.0.0.1 PGPORT=$PGPORT DATABASE_URL=postgres://masque@127.0.0.1:$PGPORT/masque
case "\${*:4}" in
"stop masque") ;;
"exec -T postgres "*) exec "\${@:7}" ;;
"run --rm -T migrate") exec "$BINARY" migrate ;;
"run --rm -T masque "*) shift 7 && exec "$BINARY" "\${@//\/var\/lib\/masque/$ROOT/deploy/data}" --data "$ROOT/deploy/data" ;;
"exec masque masque "*) shift 6 && exec "$BINARY" "\$@" --data "$ROOT/deploy/data" ;;
*) echo "docker: unknown command: \$*" >&2 && exit 1 ;;
esac
END
printf '#!/bin/sh\necho "the hosts are started"\n' >deploy/up
chmod +x stand-ins/docker deploy/up
export PATH="$ROOT/stand-ins:$PATH"
