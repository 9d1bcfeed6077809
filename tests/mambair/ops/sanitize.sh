#!/usr/bin/env bash
# The kernel tests on a build with assertions (MAMBAIR_CHECKS), AddressSanitizer and
# UndefinedBehaviorSanitizer, in a copy of the sources. Needs g++ and the test requirements.
#
#     tests/mambair/ops/sanitize.sh [PYTHON] [PYTEST ARGUMENTS]
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)"
python="${1:-python3}"
[ $# -gt 0 ] && shift

copy="$(mktemp -d)"
trap 'rm -rf "$copy"' EXIT
cd "$root"
cp -r mambair basicsr_mambair tests benchmarks setup.py pyproject.toml README.md LICENSE NOTICE "$copy"
mkdir -p "$copy/experiments"
cp -r experiments/pretrained_models "$copy/experiments/"
cd "$copy"
rm -f mambair/ops/native/_kernels*.so
# build_ext continues without the extension where it cannot be compiled; the test below does not.
MAMBAIR_SANITIZE=1 "$python" setup.py -q build_ext --inplace

# The sanitizers' library comes before all others, and libstdc++ right after it: it looks for the
# function that throws when it starts.
export LD_PRELOAD="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libstdc++.so.6)"
export ASAN_OPTIONS="detect_leaks=0" UBSAN_OPTIONS="print_stacktrace=1"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-2}" PYTHONPATH="$copy"

# The library that is tested is this one, and it ends the process at an overrun.
overrun='
import sys, torch
from mambair.ops import native
assert native.__file__.startswith(sys.argv[1]), native.__file__
scores, chosen = torch.randn(1, 50, 7), torch.empty(1, 50, dtype=torch.int64)
order, too_short = torch.empty(50, dtype=torch.int64), torch.empty(49, dtype=torch.int64)
arguments = native.RouteArguments(
    batch=1, length=50, classes=7, scores=scores.data_ptr(), chosen=chosen.data_ptr(),
    order=order.data_ptr(), inverse=too_short.data_ptr(),
)
native.run("mambair_route", arguments)
'
if said="$("$python" -c "$overrun" "$copy" 2>&1)" || ! grep -q "heap-buffer-overflow" <<<"$said"; then
  echo "sanitize: a deliberate overrun was not caught"
  echo "$said" | tail -20
  exit 1
fi

"$python" -m pytest -q -p no:cacheprovider -m "not slow" \
  tests/mambair/ops/test_dense.py tests/mambair/ops/test_routing.py \
  tests/mambair/ops/test_window_attention.py tests/mambair/archs/test_attentive_block.py \
  tests/mambair/ops/test_selective_scan.py -k "not third and not module_of_others" "$@"
