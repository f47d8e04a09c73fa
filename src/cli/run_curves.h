// The numbers of a training run's log.jsonl, as lines of a chart.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "cli/line_chart.h"

namespace tw::cli {

/// The fields `names` of each line over its "step", in the order of the file. Where a run went back, what it
/// then did again takes the place of what it did before. Lines without "step" and fields that are no numbers
/// are passed over, and so is a last line that is not finished. Fails with kNotFound, kCorrupt (FILE:LINE),
/// or kInvalidArgument when no line has the first name, telling those there are.
base::Result<std::vector<ChartLine>> run_curves(const std::string& log,
                                                const std::vector<std::string>& names);

}  // namespace tw::cli
