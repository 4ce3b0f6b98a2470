#!/bin/sh
# Sends one message to a Masque host and prints the reply while it is written. Needs a POSIX shell and curl 7.82.
#
#     MASQUE_KEY=msq_... ./chat.sh ana 'Hello!'
#
# MASQUE_URL is the address of the host, http://127.0.0.1:8000 by default. MASQUE_KEY is an API key with the scopes
# `tokens:mint` and `chat`; with it, the script gets a token for the user. Without it, the host has to have authentication off.
# CURL_CA_BUNDLE names the file of an authority of your own.
set -eu

if [ $# -ne 2 ]; then
    echo "usage: chat.sh USER MESSAGE" >&2
    exit 2
fi
url=${MASQUE_URL:-http://127.0.0.1:8000}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# The text as a string of JSON.
json() {
    printf '%s' "$1" | tr '\t\r' '  ' | sed 's/[\\"]/\\&/g' | awk 'BEGIN { printf "\"" } NR > 1 { printf "\\n" }
        { printf "%s", $0 } END { printf "\"" }'
}

# The string member $1 of the JSON that is read, still with its escapes.
member() {
    sed -n 's/.*"'"$1"'": *"\([^"\\]*\(\\.[^"\\]*\)*\)".*/\1/p'
}

# Prints a string of JSON without its escapes.
print_text() {
    printf '%b' "$(sed 's/\\"/"/g')"
}

# The number member $1 of the JSON that is read.
number() {
    sed -n 's/.*"'"$1"'": *\([0-9]*\).*/\1/p'
}

# Sends a request to the path $1. A connection that is silent for 45 seconds is broken: comment lines arrive every 15 seconds. The
# credential is in a file, since other users of the machine can read the arguments of a program.
ask() {
    path=$1 code=0
    shift
    curl --silent --show-error --no-buffer --speed-limit 1 --speed-time 45 --header "@$work/credential" "$@" "$url$path" \
        2>"$work/error" || code=$?
    # The certificate, or the file of its authority, is not accepted: another attempt changes nothing.
    case $code in
        60 | 77) : >"$work/untrusted" ;;
    esac
}

# Ends with what curl said, whose first line is the reason.
unreachable() {
    echo "can't reach $url: $(sed -n 1p "$work/error")" >&2
    if [ -e "$work/untrusted" ]; then
        echo "name the file of the certificate's authority in CURL_CA_BUNDLE" >&2
    fi
    exit 1
}

# Waits as the problem says, if it is one that passes: 429 and 503 say after how many seconds to send the request again.
await_retry() {
    status=$(number status <"$work/problem") seconds=$(number retry_after <"$work/problem")
    case $status in
        429 | 503) ;;
        *) return 1 ;;
    esac
    # A spent budget of tokens lasts until the next day, for example.
    if [ -z "$seconds" ] || [ "$seconds" -gt 30 ]; then
        return 1
    fi
    sleep "$seconds"
    rm "$work/problem"
}

fail() {
    if [ ! -s "$work/problem" ]; then
        unreachable
    fi
    title=$(member title <"$work/problem") detail=$(member detail <"$work/problem")
    # The stable name is what programs compare.
    name=$(member type <"$work/problem") request=$(member request_id <"$work/problem")
    printf '%s: %s (%s, request %s)\n' "$title" "$detail" "${name#*#}" "$request" >&2
    exit 1
}

# Handles one event: $1 its type, $2 its id, $3 its data.
handle() {
    rm -f "$work/problem"
    case $1 in
        turn.created) printf '%s' "$3" | member turn_id >"$work/turn" ;;
        reply.delta) printf '%s\n' "$3" | member text | print_text ;;
        turn.completed) : >"$work/completed" ;;
        turn.failed) printf '%s\n' "$3" >"$work/problem" && : >"$work/failed" ;;
    esac
    printf '%s' "$2" >"$work/last"
}

# Reads the events of an answer, up to where the connection ends, or the problem object that came instead.
follow() {
    event='' id='' data=''
    while IFS= read -r line || [ -n "$line" ]; do
        case $line in
            'event: '*) event=${line#event: } ;;
            'id: '*) id=${line#id: } ;;
            'data: '*) data=$data${line#data: } ;;
            '{'*) printf '%s\n' "$line" >"$work/problem" ;;
            '')
                if [ -n "$event" ]; then
                    handle "$event" "$id" "$data"
                fi
                event='' data=''
                ;;
        esac
    done
}

# Prints the reply of a turn whose events are no longer kept, as soon as it has ended.
print_outcome() {
    for pause in 0 1 2 4 8 16 32 64; do
        sleep "$pause"
        ask "/turns/$1" >"$work/turn"
        if [ "$(member status <"$work/turn")" = completed ]; then
            printf '\n'
            member content <"$work/turn" | print_text
            printf '\n'
            exit 0
        fi
    done
}

: >"$work/credential"
if [ -n "${MASQUE_KEY:-}" ]; then
    printf 'Authorization: Bearer %s\n' "$MASQUE_KEY" >"$work/credential"
    token=''
    for pause in 0 1 1 2 4 8; do
        sleep "$pause"
        ask /auth/token --json "{\"user_id\": $(json "$1")}" >"$work/problem"
        token=$(member access_token <"$work/problem")
        if [ -e "$work/untrusted" ]; then
            unreachable
        fi
        if [ -n "$token" ] || [ -s "$work/problem" ] && ! await_retry; then
            break
        fi
    done
    if [ -z "$token" ]; then
        fail
    fi
    rm "$work/problem"
    printf 'Authorization: Bearer %s\n' "$token" >"$work/credential"
fi

# With the same key, the host runs the turn once, however often the request arrives.
key=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
for pause in 0 1 1 2 4 8; do
    sleep "$pause"
    if [ -s "$work/turn" ]; then
        turn=$(cat "$work/turn")
        ask "/turns/$turn/events" --header "Last-Event-ID: $(cat "$work/last")" | follow
    else
        ask /chat --header "Idempotency-Key: $key" --json "{\"message\": $(json "$2"), \"stream\": true}" | follow
    fi
    if [ -e "$work/completed" ]; then
        echo
        exit 0
    fi
    if [ -e "$work/untrusted" ]; then
        unreachable
    fi
    if [ -s "$work/problem" ]; then
        case $(member type <"$work/problem") in
            *'#events-gone') print_outcome "$turn" ;;
        esac
        if [ -e "$work/failed" ] || ! await_retry; then
            fail
        fi
    fi
done
unreachable
