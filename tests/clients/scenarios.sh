# What the clients that are commands share (kcat, the console tools); sourced.
#
# A scenario is a function named as the scenario with `_` for `-`. It fails by calling `fail` or through a failing command.

RUN=$$-$RANDOM
WORK=$(mktemp -d)
shopt -s inherit_errexit
trap 'rm -rf "$WORK"' EXIT

# A topic name that no other scenario or run has.
name() { echo "$CLIENT-$1-$RUN-$RANDOM"; }

# Waits after a change for a cluster that answers before all of it knows (SETTLE_MS, see `run`).
settle() { sleep "$(printf '%d.%03d' $((${SETTLE_MS:-0} / 1000)) $((${SETTLE_MS:-0} % 1000)))"; }

fail() { echo "$*" >&2; exit 1; }

same() { [[ $1 == "$2" ]] || fail "$3: expected ${1:0:200}, found ${2:0:200}"; }

# Numbered lines.
values() { seq -f 'value-%g-abcdefghabcdefghabcdefgh' "$1" "$2"; }

# Runs the scenarios given (or all that are not left out), one line each. LEFT_OUT maps a
# scenario to why; OWN has those with a `+` that this client can.
scenarios() {
    local all=() failed=0 scenario
    readarray -t all < <(sed -E '/^[#+]/d; s/ .*//' "$HERE/../scenarios.txt")
    all+=("${OWN[@]}")
    for scenario in "${all[@]}"; do
        if (($#)) && [[ " $* " != *" $scenario "* ]]; then continue; fi
        if [[ ${LEFT_OUT[$scenario]:-} ]]; then
            echo "left out $scenario: ${LEFT_OUT[$scenario]}"
            continue
        fi
        (set -e; "${scenario//-/_}") >"$WORK/out" 2>"$WORK/err" # not as a condition: that would switch -e off
        if (($? == 0)); then
            echo "ok $scenario"
        else
            echo "FAILED $scenario: $(tail -n 4 "$WORK/err" | tr '\n' ' ')"
            failed=1
        fi
    done
    return $failed
}
