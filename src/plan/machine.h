// What the kernels' own benchmarks measured on one machine: the curves that plans for it are made of.
// `tokenworks plan calibrate` writes them (docs/formats/calibration.md).
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "plan/curves.h"
#include "plan/usual_state.h"

namespace tw::plan {

/// What is measured. The name in a file is kind_name's.
enum class Measured {
  kGeneratedProduct,    ///< with rows of generated tokens; size: elements of the weight
  kPromptProduct,       ///< with rows of prompts
  kTrainProduct,        ///< forward and both gradients, of weights that are learnt
  kGeneratedAttention,  ///< size: FLOPs of all rows; place: a head's size
  kPromptAttention,
  kTrainAttention,   ///< forward and backward; size: the forward's FLOPs
  kRows,             ///< norms and the like, barrier included; size: bytes read and written
  kTrainRows,        ///< forward and backward; size: the forward's bytes
  kActivation,       ///< within another op; size: bytes read and written
  kTrainActivation,  ///< forward and backward; size: the forward's bytes
  kLoss,             ///< cross-entropy and its gradient; size: logits
  kOptimizer,        ///< all of a step's work on parameters; size: parameters
  kPick,             ///< the likeliest of logits; size: logits
  kStep,             ///< waking the workers for a step and letting them go; size: 1
  kEmbed,            ///< rows of a table in a type, decoded; size: bytes written
  kAngles,           ///< sines and cosines of positions; size: bytes written
};
inline constexpr int kMeasuredKinds = 16;
std::string_view kind_name(Measured kind);

/// One measurement: a line of the file.
struct MeasuredPoint {
  Measured kind = Measured::kStep;
  std::string type;  ///< of the weight, as GGUF names it; empty where there is none
  int threads = 1;
  double rows = 1;   ///< of products; else 1
  double size = 1;   ///< what seconds grow with (Measured)
  double place = 1;  ///< products: bytes of all weights that take turns; attention: a head's size; else 1
  double seconds = 0;
};

/// What a step is made of, as far as it matters to what lies between its ops.
enum class StepKind {
  kGenerated,  ///< of serving, without prompts
  kPrompt,     ///< of serving, with prompts
  kTrain,      ///< of the optimizer
};
inline constexpr int kStepKinds = 3;
std::string_view kind_name(StepKind kind);

/// What a step takes beside its ops and the waking of the workers, fitted to whole steps (machine_chain.h).
struct Between {
  double host = 0;  ///< seconds of a step: scheduling, the batch, sampling, handing out
  double gap = 0;   ///< seconds of an op: workers that come late to its barrier, code and small inputs gone
  double byte = 0;  ///< seconds of a byte of activations, which an op finds farther away than one timed alone
};

class MachineCurves {
 public:
  std::string processor, kernels;  ///< "Intel(R) Xeon(R)", "amx"
  int threads = 1;                 ///< that plans are made for
  double teraflops = 0;            ///< best multiply-adds from registers, all threads
  double memory_gb = 0;            ///< 2^30 bytes that the process may use
  double bandwidth_gbs = 0;        ///< 10^9 bytes a second, read by all threads
  MachineState usual;              ///< of `threads` workers, when it was measured
  std::string file;                ///< where it was read from

  void add(MeasuredPoint point);
  const std::vector<MeasuredPoint>& points() const { return points_; }
  /// Numbers of workers that were measured with, ascending.
  std::vector<int> thread_counts() const;

  void set_between(StepKind kind, int threads, const Between& between) {
    between_[{kind, threads}] = between;
  }
  /// Nothing where no steps were measured.
  Between between(StepKind kind, int threads) const;

  /// The text of a file, and back. Parsing fails with kCorrupt and one line that names file and fault.
  std::string text() const;
  static base::Result<MachineCurves> parse(std::string_view text, const std::string& where);
  /// Fails with kNotFound, naming the command, when there is no such file.
  static base::Result<std::shared_ptr<const MachineCurves>> load(const std::string& path);

  bool has(Measured kind, std::string_view type, int threads) const;
  /// Fails with kNotFound, saying how to measure it, unless has().
  base::Status need(Measured kind, std::string_view type, int threads) const;

  /// Seconds, straight between measurements in log space. Fewer rows or smaller sizes than measured take what
  /// the least did, and more take more in proportion; places beyond the measured ones are as those at the
  /// ends. REQUIRES: has().
  double seconds(Measured kind, std::string_view type, int threads, double rows, double size,
                 double place) const;

 private:
  using Key = std::tuple<Measured, std::string, int>;
  using ByRows = std::map<double, LogCurve>;
  std::vector<MeasuredPoint> points_;
  std::map<Key, std::map<double, ByRows>, std::less<>> curves_;  ///< by place
  std::map<std::pair<StepKind, int>, Between> between_;
};

/// This machine as an accelerator of plans.
Accelerator machine_accelerator(std::shared_ptr<const MachineCurves> curves);

}  // namespace tw::plan
