// For this folder's tests: small runs on a page of text, and what they tell.
#pragma once

#include <map>

#include "train/test_files.h"
#include "train/train_run.h"

namespace tw::train {

class Watcher : public RunObserver {
 public:
  void note(const std::string& line) override { notes += line + "\n"; }
  void stepped(const StepLine& line) override {
    losses[line.step] = line.loss;
    skipped += line.skipped ? 1 : 0;
    if (line.step == break_at) broken = true;
  }
  void validated(std::int64_t step, double loss, bool whole) override {
    if (whole) last_validation = {step, loss};
    if (!whole) validations[step] = loss;
  }
  void sampled(std::int64_t /*step*/, const std::string& text) override { samples.push_back(text); }
  bool stops() override { return broken; }

  std::int64_t break_at = -1;
  bool broken = false;
  std::map<std::int64_t, double> losses, validations;
  std::pair<std::int64_t, double> last_validation;
  std::vector<std::string> samples;
  std::string notes;
  int skipped = 0;
};

inline std::string some_text(int sentences) {
  std::string text;
  for (int i = 0; i < sentences; ++i)
    text += "The " + std::string(i % 3 == 0 ? "cat" : "dog") + " sat on mat " + std::to_string(i * 7 % 100) +
            ".\n";
  return text;
}

/// A run of 24 steps in two stages on the text in FOLDER/text.
inline spec::TrainConfig small_run(const std::string& folder) {
  write_text(folder + "/text/a.txt", some_text(300));
  spec::TrainConfig c;
  c.out = folder + "/out";
  c.seed = 3;
  c.isa = "avx2";
  c.model.layers = 1;
  c.model.width = 32;
  c.tokenizer.kind = "bytes";
  c.checkpoints.steps = 5;
  c.samples.tokens = 8;
  c.stages.resize(2);
  for (spec::TrainStage& stage : c.stages) {
    stage.data = {{folder + "/text", "text", 1}};
    stage.sequence = 32;
    stage.batch = 128;
    stage.micro_batch = 64;
    stage.steps = 12;
  }
  c.stages[1].rope_theta = 50000;
  c.stages[1].schedule.kind = "wsd";
  return c;
}

/// Losses of a run that is stopped after each of these steps.
inline std::map<std::int64_t, double> losses_of(const spec::TrainConfig& config,
                                                const std::vector<std::int64_t>& stops) {
  std::map<std::int64_t, double> all;
  for (std::size_t i = 0; i <= stops.size(); ++i) {
    base::Team team(i % 2 == 0 ? 2 : 1);
    Watcher watcher;
    watcher.break_at = i < stops.size() ? stops[i] : -1;
    const auto report = train_run(config, team, {}, watcher);
    EXPECT_TRUE(report.ok()) << report.error().text();
    EXPECT_EQ(report->finished, i == stops.size());
    for (const auto& [step, loss] : watcher.losses) {
      EXPECT_FALSE(all.contains(step)) << "step " << step << " was saved, and yet run again";
      all[step] = loss;
    }
  }
  return all;
}

}  // namespace tw::train
