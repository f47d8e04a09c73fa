#include "model/packed_weights.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "base/log.h"
#include "kernels/panels.h"

namespace tw::model {
namespace {

using Clock = std::chrono::steady_clock;

/// Rows of the panels that these kernels pack; 0: they do not. (A set packs all types of GGUF alike.)
std::uint32_t panel_rows(const kernels::Table& table) {
  const kernels::MatmulKernel& kernel = *table.matmul[static_cast<std::size_t>(base::DType::kQ8_0)];
  return kernel.packed_bytes == nullptr ? 0 : static_cast<std::uint32_t>(kernel.panel_rows);
}

/// The calling thread gets what others leave it. (Not SCHED_IDLE: with every processor busy that is too
/// little to leave in time.)
void yield_to_all() {
  ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), 19);
}

}  // namespace

std::unique_ptr<PackedWeights> PackedWeights::open(const ModelFiles& files, const kernels::Table& table,
                                                   const PackedOptions& options) {
  const std::optional<SourceFile> source = files.source();
  const std::uint32_t rows = panel_rows(table);
  if (!options.use || !source || rows == 0) return nullptr;
  const io::PackedIdentity identity{rows, kernels::kPackingVersion, source->bytes, source->info.modified_ns,
                                    source->header_hash};
  std::unique_ptr<PackedWeights> weights(new PackedWeights(*source, identity, options));
  for (const std::string& place : io::packed_places(source->path, rows)) {
    weights->file_ = weights->usable(place);
    if (weights->file_) break;
  }
  return weights;
}

std::optional<io::PackedFile> PackedWeights::usable(const std::string& place) const {
  auto file = io::PackedFile::open(place);
  if (!file.ok()) {
    const bool broken =
        file.error().code == base::Code::kCorrupt || file.error().code == base::Code::kUnsupported;
    spdlog::log(broken ? spdlog::level::warn : spdlog::level::debug, "packed weights are not used: {}",
                file.error().text());
    return std::nullopt;
  }
  if (file->identity() != identity_) {
    tell(fmt::format("{}: packed from another version of the model, and not used", place));
    return std::nullopt;
  }
  // Whoever may write where the model lies could slip in weights of their own.
  const std::uint32_t owner = file->info().owner;
  if (owner != ::geteuid() && owner != source_.info.owner && owner != 0) {
    spdlog::warn("{}: packed weights are not used: they belong to another user", place);
    return std::nullopt;
  }
  return std::optional<io::PackedFile>(std::move(*file));
}

std::span<std::byte> PackedWeights::find(const std::string& name, const kernels::MatmulKernel& kernel,
                                         base::DType type, std::int64_t n, std::int64_t k) const {
  const io::PackedTensor* tensor = file_ ? file_->find(name) : nullptr;
  if (tensor == nullptr || tensor->dtype != type || tensor->n != n || tensor->k != k) return {};
  if (kernel.packed_bytes == nullptr || kernel.panel_rows != identity_.panel_rows) return {};
  if (static_cast<std::size_t>(kernel.packed_bytes(type, n, k)) != tensor->data.size()) return {};
  return {const_cast<std::byte*>(tensor->data.data()), tensor->data.size()};
}

bool PackedWeights::wants_copy() const {
  constexpr double kMostly = 0.9;
  // All of it would take as long as copying. Pages of 2 MiB come and go by stretches of some 100 MiB.
  // Others each time: a sample that was not in memory is read, as a huge page, and would be one for ever.
  constexpr std::size_t kSamples = 64, kSample = 2U << 20;
  const auto phase = static_cast<std::size_t>(Clock::now().time_since_epoch().count());
  if (options_.copy) return *options_.copy;
  if (!file_) return false;
  const std::span<const std::byte> file = file_->mapped();
  const std::size_t stride = std::max<std::size_t>(1, file.size() / kSamples);
  for (std::size_t i = 0; i < kSamples && stride * i < file.size(); ++i) {
    const std::size_t begin = (stride * i + phase % stride) / kSample * kSample;
    base::read_in(file.data() + begin, std::min(kSample, file.size() - begin));
  }
  return base::share_in_huge_pages(file.data(), file.size()) < kMostly;
}

void PackedWeights::add(Param& param) {
  const tensor::PackedMatrix& matrix = param.matrix;
  if (matrix.packed().empty() || matrix.kernel().panel_rows != identity_.panel_rows) return;
  const bool stored = !find(param.name, matrix.kernel(), matrix.type(), matrix.n(), matrix.k()).empty();
  items_.push_back({&param, stored ? file_->find(param.name) : nullptr});
  missing_ = missing_ || !stored;
}

void PackedWeights::check_item(const Item& item) {
  if (item.stored == nullptr) return;
  tensor::PackedMatrix& matrix = item.param->matrix;
  const bool viewed = matrix.data() == item.stored->data.data();
  io::PackedTensor used = *item.stored;
  used.data = matrix.packed();  // the copy, if it is one
  if (io::PackedFile::is_intact(used)) return;
  const bool first = !damaged_.exchange(true);
  spdlog::log(first ? spdlog::level::warn : spdlog::level::debug,
              "{}: tensor {} is damaged; it is packed again, and the file made anew", file_->path(),
              item.param->name);
  if (viewed) {
    const base::Status status = base::allow_writing(item.stored->data.data(), item.stored->data.size());
    TW_CHECK(status.ok(), "pages of a private mapping can be made writable");
  }
  matrix.pack_panels(0, matrix.panels());
}

bool PackedWeights::leaving() {
  const std::lock_guard lock(mutex_);
  return leave_by_.has_value();
}

void PackedWeights::check(base::Team& team) {
  const Clock::time_point end = Clock::now() + options_.check_time;
  team.run([&](int) {
    while (Clock::now() < end) {
      const std::size_t i = next_++;
      if (i >= items_.size()) return;
      check_item(items_[i]);
    }
  });
}

void PackedWeights::start() {
  std::size_t bytes = 0;
  for (const Item& item : items_) bytes += item.param->matrix.packed().size();
  missing_ = missing_ && bytes >= options_.min_bytes;
  started_ = true;
  if (all_checked() && !stale()) return;
  thread_ = std::thread([this] { work(); });
}

PackedWeights::~PackedWeights() {
  {
    const std::lock_guard lock(mutex_);
    leave_by_ = Clock::now() + options_.finish_time;
    wake_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
  if (!started_ || written_ || !stale()) return;
  std::error_code ignored;
  if (all_checked()) {
    tell("writing packed weights for the next start");
    write();  // here: it is urgent now
  } else if (damaged_) {
    std::filesystem::remove(file_->path(), ignored);
  }
}

void PackedWeights::work() {
  yield_to_all();
  for (; !all_checked() && !leaving(); ++next_) check_item(items_[next_]);
  if (!stale()) return;
  {
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, options_.write_after, [&] { return leave_by_.has_value(); });
  }
  if (all_checked() && !leaving()) write();
}

bool PackedWeights::out_of_time() {
  const std::lock_guard lock(mutex_);
  return leave_by_ && Clock::now() > *leave_by_;
}

/// REQUIRES: all_checked(), or damage would get a checksum of its own.
void PackedWeights::write() {
  written_ = true;
  std::vector<io::PackedTensor> tensors;
  for (const Item& item : items_) {
    const tensor::PackedMatrix& matrix = item.param->matrix;
    tensors.push_back({item.param->name, matrix.type(), matrix.n(), matrix.k(), matrix.packed(), 0});
  }
  for (const std::string& place : io::packed_places(source_.path, identity_.panel_rows)) {
    if (write_to(place, tensors)) return;
  }
}

/// False: another place may do.
bool PackedWeights::write_to(const std::string& place, const std::vector<io::PackedTensor>& tensors) {
  std::error_code ignored;
  const std::string folder = std::filesystem::path(place).parent_path().string();
  // The model's own folder may have been removed with the model, and must not come back.
  if (folder != std::filesystem::path(source_.path).parent_path())
    std::filesystem::create_directories(folder, ignored);
  const base::Status status =
      io::write_packed_file(place, identity_, tensors, source_.info.mode, [this] { return out_of_time(); });
  if (status.ok()) {
    tell(fmt::format("{}: keeps the packed weights, so that the next start is faster", place));
    return true;
  }
  spdlog::debug("packed weights are not kept: {}", status.error().text());
  return status.error().code == base::Code::kUnavailable || status.error().code == base::Code::kCancelled;
}

void PackedWeights::tell(const std::string& text) const {
  spdlog::log(options_.announce ? spdlog::level::info : spdlog::level::debug, "{}", text);
}

}  // namespace tw::model
