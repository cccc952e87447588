#!/bin/bash
# Runs dist/tq on real NFS: a kernel server and two kernel clients, v4.2 and v3, with workers killed, a client's power cut and the
# server restarted. The lab that boots them is looked for in $TQ_NFS_LAB, else in ../shared/nfs-lab beside the checkout.
# Exits 0 when all checks passed, and when the machine does not allow it (said in one sentence); otherwise 1.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
lab=${TQ_NFS_LAB:-$root/../shared/nfs-lab}
export LAB_DIR=${LAB_DIR:-/var/tmp/nfs-lab}
export LAB_CHECKOUT=$root
PATH=$root/node_modules/.bin:$PATH
SECONDS_AT_MOST=450

left_out() {
  echo "NFS: left out: $1"
  exit 0
}

[ -x "$lab/up.sh" ] || left_out "there is no lab of NFS guests at $lab (set TQ_NFS_LAB)"
[ "$(uname -s)/$(uname -m)" = Linux/x86_64 ] || left_out "the guests' kernels are for Linux on x86_64"
[ -e /etc/debian_version ] && command -v apt-get >/dev/null || left_out "the guests are built from Debian packages, and this is not Debian"
[ "$(id -u)" = 0 ] || left_out "starting guests and their network takes root"
command -v node >/dev/null || left_out "there is no node"
if [ ! -x "$root/dist/tq" ]; then
  echo "NFS: dist/tq is missing: npm run build"
  exit 1
fi
for pid in "$LAB_DIR"/run/*.pid; do
  [ -e "$pid" ] && kill -0 "$(cat "$pid")" 2>/dev/null && left_out "the lab is in use"
done

log=$(mktemp)
down() {
  rm -f "$log"
  timeout 60 "$lab/down.sh" >/dev/null 2>&1
}
trap down EXIT
trap 'exit 1' INT TERM HUP
# Does nothing when it was done before.
if [ ! -x "$LAB_DIR/linux.uml" ] || [ ! -e "$LAB_DIR/rootfs/.built" ]; then
  timeout 600 "$lab/setup.sh" >"$log" 2>&1 || left_out "the lab cannot be set up: $(tail -n 1 "$log")"
fi
if ! timeout 100 "$lab/up.sh" 2 >"$log" 2>&1; then
  left_out "the guests do not start here: $(tail -n 1 "$log")"
fi
timeout 60 "$lab/down.sh" >/dev/null 2>&1

timeout --kill-after=10 "$SECONDS_AT_MOST" node "$here/smoke.mjs" "$lab" "$@"
code=$?
[ "$code" = 124 ] && echo "NFS: not finished after $SECONDS_AT_MOST s"
[ "$code" = 0 ] || exit 1
