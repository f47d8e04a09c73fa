// The end of a run: the model as a folder that serves, and that others read.
#pragma once

#include <string>

#include "train/run_prepare.h"

namespace tw::train {

/// Writes the trainer's weights as a Hugging Face folder into `folder`, beside what else is there, in the
/// type they were multiplied with, or of an adapter as peft's files (fp32). config.json comes last: without
/// it the folder is no model yet. Fails with kIo or kResourceExhausted, naming the file.
base::Status save_model(const PreparedRun& run, const Trainer& trainer, const std::string& folder);

}  // namespace tw::train
