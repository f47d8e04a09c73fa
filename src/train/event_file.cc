#include "train/event_file.h"

#include <array>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <vector>

namespace tw::train {
namespace {

constexpr std::array<std::uint32_t, 256> crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1) != 0 ? 0x82F63B78U : 0);
    table[byte] = crc;
  }
  return table;
}

/// Records carry the checksum changed, since checksums of what holds checksums are weak.
std::uint32_t masked_crc(std::string_view bytes) {
  return std::rotr(crc32c(bytes), 15) + 0xA282EAD8U;
}

template <typename T>
void put_fixed(std::string& out, T value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out.append(bytes, sizeof(T));
}

// Protocol buffers: https://protobuf.dev/programming-guides/encoding. A field begins with its number and how
// it is laid out; zeros are left out.

enum Wire { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 128; value >>= 7) out += static_cast<char>(value | 128);
  out += static_cast<char>(value);
}

void put_key(std::string& out, int field, Wire wire) {
  put_varint(out, static_cast<std::uint64_t>(field) << 3 | wire);
}

void put_bytes(std::string& out, int field, std::string_view bytes) {
  put_key(out, field, kBytes);
  put_varint(out, bytes.size());
  out += bytes;
}

/// An Event without its content: wall_time = 1, step = 2.
std::string event(std::int64_t step, double wall_time) {
  std::string out;
  put_key(out, 1, kFixed64);
  put_fixed(out, wall_time);
  if (step == 0) return out;
  put_key(out, 2, kVarint);
  put_varint(out, static_cast<std::uint64_t>(step));
  return out;
}

/// Summary.Value: tag = 1, simple_value = 2.
std::string summary_value(const Scalar& scalar) {
  std::string out;
  put_bytes(out, 1, scalar.tag);
  put_key(out, 2, kFixed32);
  put_fixed(out, static_cast<float>(scalar.value));
  return out;
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  static constexpr std::array<std::uint32_t, 256> kTable = crc_table();
  std::uint32_t crc = 0xFFFFFFFFU;
  for (const char byte : bytes) crc = crc >> 8 ^ kTable[(crc ^ static_cast<unsigned char>(byte)) & 255];
  return ~crc;
}

base::Result<EventFile> EventFile::create(const std::string& folder, const std::string& name,
                                          std::int64_t first_step, double wall_time) {
  std::error_code ignored;
  std::filesystem::create_directories(folder, ignored);
  std::string path =
      fmt::format("{}/events.out.tfevents.{}.{}", folder, static_cast<std::int64_t>(wall_time), name);
  std::FILE* opened = std::fopen(path.c_str(), "ae");
  if (opened == nullptr)
    return base::Error{base::Code::kIo, std::string("cannot be written: ") + std::strerror(errno), path};
  EventFile file(std::move(path), opened);
  std::string version = event(0, wall_time);
  put_bytes(version, 3, "brain.Event:2");  // file_version = 3
  file.write_record(version);
  std::string start = event(first_step, wall_time), session;
  put_key(session, 1, kVarint);  // SessionLog: status = 1, START
  put_varint(session, 1);
  put_bytes(start, 7, session);  // session_log = 7
  file.write_record(start);
  return file;
}

void EventFile::add(std::int64_t step, double wall_time, std::span<const Scalar> scalars) {
  std::string summary;
  for (const Scalar& scalar : scalars) put_bytes(summary, 1, summary_value(scalar));  // Summary: value = 1
  std::string whole = event(step, wall_time);
  put_bytes(whole, 5, summary);  // summary = 5
  write_record(whole);
}

void EventFile::add(const base::OrderedJson& line, double wall_time) {
  if (!line.is_object() || !line.contains("step") || !line["step"].is_number_integer()) return;
  std::vector<Scalar> scalars;
  for (const auto& [key, value] : line.items()) {
    if (key != "step" && value.is_number()) scalars.push_back({key, value.get<double>()});
  }
  if (!scalars.empty()) add(line["step"].get<std::int64_t>(), wall_time, scalars);
}

void EventFile::write_record(std::string_view event) {
  std::string record;
  put_fixed(record, std::uint64_t{event.size()});
  put_fixed(record, masked_crc(record));
  record += event;
  put_fixed(record, masked_crc(event));
  const bool whole = std::fwrite(record.data(), 1, record.size(), file_.get()) == record.size() &&
                     std::fflush(file_.get()) == 0;
  if (!whole && written_.ok())
    written_ = base::Error{base::Code::kIo, std::string("cannot be written: ") + std::strerror(errno), path_};
}

}  // namespace tw::train
