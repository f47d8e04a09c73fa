#include "base/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_color_sinks.h>

#include <algorithm>

namespace tw::base {
namespace {

/// Parts the text of an event from its fields inside the one message that spdlog carries: control characters
/// that no message has.
constexpr std::string_view kFieldsFollow = "\x1E\x1E";

/// %* in the pattern: the message as it is shown in the format, so that one event is always one line.
class Message : public spdlog::custom_flag_formatter {
 public:
  explicit Message(LogFormat format) : format_(format) {}
  void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& out) override {
    const std::string_view payload(message.payload.data(), message.payload.size());
    const std::size_t at = std::min(payload.find(kFieldsFollow), payload.size());
    std::string text(payload.substr(0, at));
    if (format_ == LogFormat::kJson) {
      text = dump_json(Json(text));
      // "{...}" goes on as ",..." inside the line's own braces.
      const std::string_view fields = payload.substr(std::min(at + kFieldsFollow.size(), payload.size()));
      if (fields.size() > 2) text.append(",").append(fields.substr(1, fields.size() - 2));
    }
    out.append(text.data(), text.data() + text.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<Message>(format_); }

 private:
  const LogFormat format_;
};

}  // namespace

void log_event(spdlog::level::level_enum level, const std::string& text, const OrderedJson& fields) {
  if (spdlog::should_log(level)) spdlog::log(level, "{}{}{}", text, kFieldsFollow, dump_json(fields));
}

void init_logging(const std::string& level, LogFormat format) {
  auto logger =
      std::make_shared<spdlog::logger>("tokenworks", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<Message>('*', format)
      .set_pattern(format == LogFormat::kJson
                       ? R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l","message":%*})"
                       : "%H:%M:%S.%e %^%l%$ %*");
  logger->set_formatter(std::move(formatter));
  logger->set_level(spdlog::level::from_str(level));
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace tw::base
