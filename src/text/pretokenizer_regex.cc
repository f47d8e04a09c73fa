#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/pretokenizer_regex.h"

#include <pcre2.h>

#include "base/check.h"
#include "base/utf8.h"

namespace tw::text {
namespace {

using base::Code;
using base::error;

constexpr std::size_t kMaxPattern = 16 << 10;
constexpr std::uint32_t kMaxNesting = 50;
/// One match on a text of a million spaces backtracks about a million times; more than ten million is an
/// attack.
constexpr std::uint32_t kMatchLimit = 10'000'000;
constexpr std::uint32_t kHeapLimitKib = 256 << 10;

std::string error_text(int number) {
  PCRE2_UCHAR buffer[128];
  pcre2_get_error_message(number, buffer, sizeof(buffer));
  return reinterpret_cast<const char*>(buffer);
}

struct FreeCompileContext {
  void operator()(pcre2_compile_context* context) const { pcre2_compile_context_free(context); }
};

/// Ruby's reading of a pattern, which Oniguruma follows: ^ and $ at lines that end in a line feed.
pcre2_code* compile_pcre2(const std::string& pattern, int& number, PCRE2_SIZE& offset) {
  std::unique_ptr<pcre2_compile_context, FreeCompileContext> context(pcre2_compile_context_create(nullptr));
  TW_CHECK(context != nullptr, "memory for a PCRE2 compile context");
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  pcre2_set_parens_nest_limit(context.get(), kMaxNesting);
  const std::uint32_t flags = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
  return pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), flags, &number, &offset,
                       context.get());
}

}  // namespace

void Regex::FreeCode::operator()(pcre2_real_code_8* code) const {
  pcre2_code_free(code);
}
void Regex::FreeContext::operator()(pcre2_real_match_context_8* context) const {
  pcre2_match_context_free(context);
}
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;
Regex::~Regex() = default;

base::Result<Regex> Regex::compile(std::string_view pattern) {
  if (pattern.size() > kMaxPattern) {
    return error(Code::kUnsupported, "a pre-tokenizer pattern has {} bytes; the limit is {}", pattern.size(),
                 kMaxPattern);
  }
  TW_ASSIGN_OR_RETURN(const std::string translated, translate_regex(pattern));
  int number = 0;
  PCRE2_SIZE offset = 0;
  Regex regex;
  regex.code_.reset(compile_pcre2(translated, number, offset));
  if (!regex.code_) {
    return error(Code::kCorrupt, "the pre-tokenizer pattern \"{}\" does not compile: {} at byte {}",
                 base::sanitize_utf8(translated), error_text(number), offset);
  }
  regex.has_jit_ = pcre2_jit_compile(regex.code_.get(), PCRE2_JIT_COMPLETE) == 0;  // else it runs interpreted
  regex.limits_.reset(pcre2_match_context_create(nullptr));
  TW_CHECK(regex.limits_ != nullptr, "memory for a PCRE2 match context");
  pcre2_set_match_limit(regex.limits_.get(), kMatchLimit);
  pcre2_set_heap_limit(regex.limits_.get(), kHeapLimitKib);
  return regex;
}

std::optional<Span> Regex::find(std::string_view subject, std::size_t from, RegexScratch& scratch) const {
  const auto text = reinterpret_cast<PCRE2_SPTR>(subject.data());
  int found = PCRE2_ERROR_JIT_STACKLIMIT;
  if (has_jit_) {
    found = pcre2_jit_match(code_.get(), text, subject.size(), from, 0, scratch.match_, limits_.get());
  }
  if (found == PCRE2_ERROR_JIT_STACKLIMIT) {
    constexpr std::uint32_t kFlags = PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT;
    found = pcre2_match(code_.get(), text, subject.size(), from, kFlags, scratch.match_, limits_.get());
  }
  if (found < 0) return std::nullopt;
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(scratch.match_);
  // \K and look-behind tricks could start a match before `from`; translate_regex refuses \K.
  return Span{bounds[0], bounds[1] < bounds[0] ? bounds[0] : bounds[1]};
}

RegexScratch::RegexScratch() : match_(pcre2_match_data_create(1, nullptr)) {
  TW_CHECK(match_ != nullptr, "memory for PCRE2 match data");
}
RegexScratch::~RegexScratch() {
  pcre2_match_data_free(match_);
}

}  // namespace tw::text
