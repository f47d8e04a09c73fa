// What a run reads whenever it goes on, as it was when the run began: nothing else is learnt from unseen.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "spec/train_config.h"
#include "train/run_observer.h"

namespace tw::train {

/// Files by their paths, sorted.
struct RunSources {
  std::vector<std::string> data;    ///< text, conversations and preferences
  std::vector<std::string> models;  ///< teachers, and the base of an adapter
};

/// What this recipe's run reads; without `data`, of models alone. Fails with what is not there.
base::Result<RunSources> sources_of(const spec::TrainConfig& config, bool data);

/// Notes in FOLDER/sources.json what the files are. Reads them whole, once.
base::Status note_sources(const RunSources& sources, const std::string& folder, RunObserver& observer);

/// Whether they are what was noted in the folder; a folder without a note says nothing. Reads only files
/// whose time of change is another. Fails with kInvalidArgument, naming the first that has changed, is new or
/// is gone, and what to do. With no data among the sources that is not looked at.
base::Status check_sources(const RunSources& sources, const std::string& folder);

}  // namespace tw::train
