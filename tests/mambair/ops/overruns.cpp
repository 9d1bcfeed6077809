// Deliberate overruns, at each of which the build with checks must end the process
// (test_native.py).

#include <cstring>
#include <vector>

#include "linear.h"
#include "scratch.h"

using namespace baseline;

int main(int, char **arguments) {
  const char *overrun = arguments[1];
  Scratch scratch(2 * LANES);
  float *a = scratch.take(LANES);
  if (!strcmp(overrun, "taking")) scratch.take(2 * LANES);
  if (!strcmp(overrun, "writing")) a[LANES] = 1.0f;
  if (!strcmp(overrun, "reading")) {
    const std::vector<float> row(LANES - 1);
    copy_row(a, row.data(), LANES);
  }
  if (!strcmp(overrun, "index")) {
    float states[MAX_STATES] = {0};
    volatile int at = MAX_STATES;
    a[0] = states[at];
  }
  return 0;
}
