#!/bin/sh
# Deletes a call: plain sh and curl.
#
#   sh delete_call.sh http://127.0.0.1:8080/verba/api KEY extension=8856 status=ongoing
#
# Prints the answer. Exit code 0: deleted, or certain to be; 1: refused; curl's own code when there
# was no answer, and then the same line may simply be sent again.
set -eu

if [ $# -lt 3 ]; then
  echo "usage: $0 URL KEY NAME=VALUE..." >&2
  exit 64
fi
url=$1 key=$2
shift 2

# Turns each NAME=VALUE into an option of curl, which does the escaping: a "+" in a number must
# arrive as %2B.
for parameter in "$@"; do
  shift
  set -- "$@" --data-urlencode "$parameter"
done

# One line of TEXT is the easiest answer for a shell: "OK", or "ERROR:<code>:<message>".
# --get puts all of it into the query string, as old clients do; without it, it is a POST.
answer=$(curl --silent --show-error --max-time 30 --get "$url" \
  --data-urlencode action=DeleteCall --data-urlencode "apiKey=$key" "$@" \
  --data-urlencode responseType=TEXT)
echo "$answer"

case $answer in
  OK | OK:*) exit 0 ;;
  *) exit 1 ;;
esac
