# Shared by the sample's commands: process 1 of the container, which obeys the knobs.
version=$(cat /app/version)
say() { echo "$(date -u +%Y-%m-%dT%H:%M:%SZ) hello: $*"; }

# A sleep that a signal interrupts.
rest() {
  sleep "$1" &
  wait $!
}

# SIGTERM: drain, then end with 0.
on_term() {
  if [ -n "$IGNORE_TERM" ]; then
    say "SIGTERM ignored"
    return
  fi
  say "SIGTERM, draining ${DRAIN:-0}s"
  [ -n "$DRAIN" ] && sleep "$DRAIN"
  kill $web 2> /dev/null
  say "bye"
  exit 0
}

on_exit_asked() {
  code=$(cat /tmp/exit-code 2> /dev/null)
  say "exit ${code:-1}"
  exit "${code:-1}"
}

setup() {
  trap on_term TERM INT
  trap on_exit_asked USR1
  if [ -n "$START_DELAY" ]; then
    say "start delay $START_DELAY"
    rest "$START_DELAY"
  fi
  if [ -n "$CRASH_AFTER" ]; then
    (
      sleep "$CRASH_AFTER"
      echo "${CRASH_CODE:-1}" > /tmp/exit-code
      kill -USR1 1
    ) &
  fi
}

count_lines() { # SECONDS
  n=0
  while :; do
    n=$((n + 1))
    echo "line $n $(hostname)"
    sleep "$1"
  done
}
