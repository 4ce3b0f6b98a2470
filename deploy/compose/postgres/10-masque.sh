#!/bin/sh
# Run once by the image of PostgreSQL, when it has made an empty data folder: a database, and a user who owns it and is no
# superuser. The superuser has no password afterwards, so only a shell in the container is one.
set -eu

psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" postgres <<'SQL'
\getenv password POSTGRES_PASSWORD
CREATE ROLE masque LOGIN PASSWORD :'password';
CREATE DATABASE masque OWNER masque ENCODING 'UTF8' TEMPLATE template0;
SELECT format('ALTER ROLE %I PASSWORD NULL', current_user) \gexec
SQL
