// The file of packed weights of a model that is being loaded: used where it fits, mended where it is damaged,
// made where there is none. Format: docs/formats/packed.md.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/team.h"
#include "io/packed_file.h"
#include "kernels/table.h"
#include "model/model_files.h"
#include "model/param_store.h"

namespace tw::model {

struct PackedOptions {
  bool use = false;
  std::optional<bool> copy = {};  ///< whether the file is copied to memory; none: where its pages are small
  bool announce = false;          ///< says so when a file was made; else only at the level debug
  std::size_t min_bytes = 64U << 20;            ///< models that pack into less are packed at each start
  std::chrono::milliseconds write_after{2000};  ///< time for first answers
  std::chrono::milliseconds check_time{150};    ///< of loading, for checksums; the rest are checked after it
  std::chrono::milliseconds finish_time{8000};  ///< of leaving, for a file that is not yet whole
};

/// Lives as long as the model, whose matrices may view its file. A thread of the lowest priority checks what
/// was not checked while loading, and writes a missing or damaged file; it ends with the object.
class PackedWeights {
 public:
  /// nullptr when such files are not wanted, the kernels do not pack, or the model is not one file.
  static std::unique_ptr<PackedWeights> open(const ModelFiles& files, const kernels::Table& table,
                                             const PackedOptions& options);
  ~PackedWeights();
  PackedWeights(const PackedWeights&) = delete;
  PackedWeights& operator=(const PackedWeights&) = delete;

  /// The panels that the file has for this matrix; empty: there are none that fit, and they must be packed.
  /// Its pages must not be written, unless base::allow_writing has made them writable.
  std::span<std::byte> find(const std::string& name, const kernels::MatmulKernel& kernel, base::DType type,
                            std::int64_t n, std::int64_t k) const;
  /// Whether what the file has should be copied: where it lies in small pages reading costs a fifth more.
  bool wants_copy() const;
  /// Of every matrix, once it is bound. `param` must outlive this object.
  void add(Param& param);
  /// Checks as many of those that the file gave as the time allows, by all workers.
  void check(base::Team& team);
  /// Goes on in the background.
  void start();

 private:
  struct Item {
    Param* param;
    const io::PackedTensor* stored;  ///< null: it was packed
  };

  PackedWeights(const SourceFile& source, io::PackedIdentity identity, const PackedOptions& options)
      : options_(options), source_(source), identity_(identity) {}
  std::optional<io::PackedFile> usable(const std::string& place) const;
  bool all_checked() const { return next_ >= items_.size(); }
  bool stale() const { return missing_ || damaged_; }
  void check_item(const Item& item);
  void work();
  bool leaving();
  void write();
  bool write_to(const std::string& place, const std::vector<io::PackedTensor>& tensors);
  bool out_of_time();
  void tell(const std::string& text) const;

  const PackedOptions options_;
  const SourceFile source_;
  const io::PackedIdentity identity_;
  std::optional<io::PackedFile> file_;
  std::vector<Item> items_;
  std::atomic<std::size_t> next_{0};  ///< the first item that nobody checks or has checked
  std::atomic<bool> damaged_{false};
  bool missing_ = false, started_ = false, written_ = false;

  std::mutex mutex_;  // guards both below
  std::condition_variable wake_;
  std::optional<std::chrono::steady_clock::time_point> leave_by_;  ///< set when the object's end has come
  std::thread thread_;
};

}  // namespace tw::model
