// The published templates against what Python's jinja2 makes of them, and the limits that untrusted ones
// meet.
#include "text/chat_template.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace tw::text {
namespace {

using base::Code;
using base::OrderedJson;

const std::string kTemplates = TW_SOURCE_DIR "/tests/data/chat_templates/";
const std::string kGolden = TW_SOURCE_DIR "/tests/golden/chat_templates/";
constexpr std::int64_t kNow = 1767323045;  // the golden files' time: 2026-01-02 03:04:05 UTC

std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  std::ostringstream out;
  out << file.rdbuf();
  return out.str();
}

OrderedJson read_json(const std::string& path) {
  auto json = base::parse_ordered_json(read(path));
  EXPECT_TRUE(json.ok()) << path << ": " << (json.ok() ? "" : json.error().message);
  return json.ok() ? *json : OrderedJson();
}

/// An output of a golden file: the numbered pieces one after the other.
std::string joined(const OrderedJson& pieces, const OrderedJson& lines) {
  std::string out;
  for (const auto& piece : pieces) out += lines.at(piece.get<std::size_t>()).get_ref<const std::string&>();
  return out;
}

base::Result<std::string> render(const std::string& source, const OrderedJson& context,
                                 TemplateLimits limits = {}) {
  auto parsed = ChatTemplate::parse(source, limits);
  if (!parsed.ok()) return parsed.error();
  return parsed->render(context, {kNow});
}

std::string text_or_error(const base::Result<std::string>& result) {
  return result.ok() ? *result : "error: " + result.error().text();
}

std::vector<std::string> template_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kTemplates)) {
    if (entry.path().extension() == ".jinja") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class PublishedTemplate : public testing::TestWithParam<std::string> {
 protected:
  static const OrderedJson& conversations() {
    static const OrderedJson all = read_json(kGolden + "conversations.json");
    return all;
  }
};

TEST_P(PublishedTemplate, AgreesWithJinja2ByteForByte) {
  const auto parsed = ChatTemplate::parse(read(kTemplates + GetParam() + ".jinja"));
  const OrderedJson golden = read_json(kGolden + GetParam() + ".json");
  ASSERT_GE(golden["cases"].size(), 100U);
  for (const auto& [name, number] : golden["cases"].items()) {
    const auto got = parsed.ok() ? parsed->render(conversations().at(name), {kNow}) : parsed.error();
    if (number.get<int>() < 0) {
      EXPECT_FALSE(got.ok()) << name << ": jinja2 raises, here it gives " << text_or_error(got);
    } else {
      EXPECT_EQ(joined(golden["outputs"].at(number.get<std::size_t>()), golden["lines"]), text_or_error(got))
          << name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, PublishedTemplate, testing::ValuesIn(template_names()), [](const auto& info) {
  std::string name = info.param;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); }, '_');
  return name;
});

TEST(ChatTemplate, AllFiftyNineAreTested) {
  EXPECT_EQ(template_names().size(), 59U);
}

TEST(ChatTemplate, SnippetsAgreeWithJinja2) {
  const OrderedJson rows = read_json(kGolden + "snippets.json");
  ASSERT_GE(rows.size(), 300U);
  for (const auto& row : rows) {
    const auto& source = row.at(0).get_ref<const std::string&>();
    const auto got = render(source, row.at(1));
    if (row.at(2).is_null()) {
      EXPECT_FALSE(got.ok()) << source << "\njinja2 raises, here it gives " << text_or_error(got);
    } else {
      EXPECT_EQ(row.at(2).get_ref<const std::string&>(), text_or_error(got)) << source;
    }
  }
}

TEST(ChatTemplate, RaiseExceptionKeepsTheTemplatesWords) {
  const auto got = render("a\n{{ raise_exception('Roles must alternate') }}", OrderedJson::object());
  ASSERT_FALSE(got.ok());
  EXPECT_EQ(got.error().code, Code::kInvalidArgument);
  EXPECT_EQ(got.error().message, "Roles must alternate");
  EXPECT_EQ(got.error().where, "chat template line 2");
}

TEST(ChatTemplate, OtherFailuresAreNotTheCallersFault) {
  for (const char* source :
       {"\n\n{{ missing.name }}", "\n\n{{ 1 + 'a' }}", "\n\n{{ [].append(1) }}", "\n\n{% if %}",
        "\n\n{{ x | nofilter }}", "\n\n{{ 'open", "\n\n{% for x in %}"}) {
    const auto got = render(source, OrderedJson::object());
    ASSERT_FALSE(got.ok()) << source;
    EXPECT_EQ(got.error().code, Code::kCorrupt) << source;
    EXPECT_EQ(got.error().where, "chat template line 3") << source;
  }
}

TEST(ChatTemplate, SaysWhatItDoesNotSupport) {
  for (const char* source : {"{% include 'a' %}", "{% extends 'a' %}", "{% import 'a' as b %}",
                             "{% for x in [] recursive %}{% endfor %}"}) {
    const auto parsed = ChatTemplate::parse(source);
    ASSERT_FALSE(parsed.ok()) << source;
    EXPECT_EQ(parsed.error().code, Code::kUnsupported) << source;
  }
}

TEST(ChatTemplate, MentionsTheVariablesThatItReads) {
  const auto parsed =
      ChatTemplate::parse("{% set x = 1 %}{% if tools is defined %}{{ y }}{% endif %}{% set ns.z = 1 %}");
  ASSERT_TRUE(parsed.ok());
  for (const char* name : {"tools", "y", "ns"}) EXPECT_TRUE(parsed->mentions(name)) << name;
  for (const char* name : {"x", "z", "documents", ""}) EXPECT_FALSE(parsed->mentions(name)) << name;
}

TEST(ChatTemplate, TimeComesFromTheCaller) {
  const auto parsed = ChatTemplate::parse("{{ strftime_now('%d %b %Y %H:%M') }}");
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(*parsed->render(OrderedJson::object(), {kNow}), "02 Jan 2026 03:04");
  EXPECT_EQ(*parsed->render(OrderedJson::object(), {0}), "01 Jan 1970 00:00");
  EXPECT_TRUE(parsed->render(OrderedJson::object()).ok());
}

TEST(ChatTemplate, VariablesMustBeAnObject) {
  EXPECT_FALSE(render("x", OrderedJson::array()).ok());
  EXPECT_FALSE(render("x", OrderedJson()).ok());
}

TEST(ChatTemplate, ThreadsShareOneTemplate) {
  const auto parsed =
      ChatTemplate::parse("{% macro m(x) %}<{{ x }}>{% endmacro %}{% for i in list %}{{ m(i) }}{% endfor %}");
  ASSERT_TRUE(parsed.ok());
  std::vector<std::string> out(4);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) out[t] = *parsed->render({{"list", {t, "a", t}}});
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int t = 0; t < 4; ++t) EXPECT_EQ(out[t], fmt::format("<{}><a><{}>", t, t));
}

std::string repeated(std::string_view text, std::size_t count) {
  std::string out;
  for (std::size_t i = 0; i < count; ++i) out += text;
  return out;
}

/// Twenty thousand names, so that looking the first one up in the wrong way takes long.
std::string many_variables() {
  std::string out;
  for (int i = 0; i < 20000; ++i) out += fmt::format("{{% set v{} = 1 %}}", i);
  return out;
}

class HostileTemplate : public testing::TestWithParam<std::string> {};

TEST_P(HostileTemplate, MeetsALimit) {
  const auto got = render(GetParam(), {{"big", std::string(1 << 20, 'a')}, {"list", {1, 2, 3}}});
  ASSERT_FALSE(got.ok());
  EXPECT_EQ(got.error().code, Code::kResourceExhausted) << got.error().text();
}

INSTANTIATE_TEST_SUITE_P(
    All, HostileTemplate,
    testing::Values(
        "{{ 'a' * 10**9 }}", "{{ ('a' * 10**8) | upper }}", "{% set x = 'a' * 10**8 %}{{ x | length }}",
        "{{ ('.' * 2 * 10**6).split('.') | length }}", "{{ [1] | map(attribute='a.' * 10**6) | list }}",
        "{% set ns = namespace(x=1) %}{% for i in range(100000) %}{% for j in [ns.x] %}{% set ns.x = loop "
        "%}{% endfor %}{% endfor %}",
        "{% macro m(n) %}{{ " + repeated("1 ~ (", 90) + "m(n)" + repeated(")", 90) +
            " }}{% endmacro %}{{ m(0) }}",
        "{% macro m(n) %}" + repeated("{% if 1 %}", 90) + "{{ m(n) }}" + repeated("{% endif %}", 90) +
            "{% endmacro %}{{ m(0) }}",
        many_variables() + "{% for i in range(100000) %}{{ v0 }}{% endfor %}", "{{ 'a' * 10**30 }}",
        "{{ [1] * 10**12 }}", "{{ range(10**12) | list }}",
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
        "{{ '%1000000000d' % 1 }}", "{{ '%*d' % (10**9, 1) }}", "{{ '{:>999999999}'.format(1) }}",
        "{{ '{:{}}'.format(1, 10**9) }}", "{{ '%.999999999f' % 1.5 }}", "{{ 'a'.center(10**12) }}",
        "{{ 'a'.zfill(10**9) }}", "{{ big.replace('', big) }}", "{{ big.replace('a', big) }}",
        "{{ big | replace('a', big) }}", "{{ big.join(big) }}", "{{ big | list | join(big) }}",
        "{{ big | indent(10**9) }}", "{{ 'a\\n' | indent(10**9) }}",
        "{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}",
        "{% set ns = namespace(f=0) %}{% macro m() %}{{ ns.f() }}{% endmacro %}{% set ns.f = m %}{{ m() }}",
        "{% set ns = namespace(x=[]) %}{% for i in range(1000) %}{% set ns.x = [ns.x] %}{% endfor %}",
        "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ "
        "ns.x }}",
        "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ "
        "ns.x | tojson }}",
        "{% set ns = namespace(x=[1], y=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% set "
        "ns.y = [ns.y, ns.y] %}"
        "{% endfor %}{{ ns.x == ns.y }}",
        "{% set ns = namespace(s='ab') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
        "{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}",
        "{% for i in range(100000) %}{{ big }}{% endfor %}", "{{ [1, 2] | batch(10**12, 0) | list }}",
        "{{ [1] | slice(10**9) | list }}", "{{ [1, [2]] | tojson(indent=10**9) }}",
        "{{ 'a\\t' | string | indent }}{{ 'a\\t'.expandtabs(10**9) }}", "{{ strftime_now('%c' * 600) }}",
        "{% set x = 10**20 %}{{ range(x, x + 10**6) | list }}",
        "{{ " + repeated("(", 5000) + "1" + repeated(")", 5000) + " }}",
        "{{ " + repeated("[", 5000) + repeated("]", 5000) + " }}", "{{ 1" + repeated(" + 1", 5000) + " }}",
        "{{ " + repeated("not ", 5000) + "1 }}", "{{ " + repeated("-", 5000) + "1 }}",
        "{{ 1" + repeated(" | abs", 5000) + " }}", "{{ x" + repeated(".a", 5000) + " }}",
        "{{ 1" + repeated(" if 1 else 1", 5000) + " }}",
        repeated("{% if 1 %}", 5000) + repeated("{% endif %}", 5000),
        repeated("{% for x in list %}", 90) + "a" + repeated("{% endfor %}", 90),
        std::string((1 << 20) + 1, 'x')));

TEST(ChatTemplate, LimitsAreTheCallers) {
  TemplateLimits limits;
  limits.max_output_bytes = 10;
  EXPECT_TRUE(render("0123456789", OrderedJson::object(), limits).ok());
  EXPECT_FALSE(render("0123456789x", OrderedJson::object(), limits).ok());
  limits = {};
  limits.max_steps = 100;
  EXPECT_FALSE(render("{% for i in range(200) %}{% endfor %}", OrderedJson::object(), limits).ok());
  limits = {};
  limits.max_source_bytes = 3;
  EXPECT_FALSE(render("abcd", OrderedJson::object(), limits).ok());
}

TEST(ChatTemplate, DeepVariablesAreRefused) {
  OrderedJson deep = 1;
  for (int i = 0; i < 150; ++i) deep = OrderedJson::array({deep});
  EXPECT_EQ(render("{{ x }}", {{"x", deep}}).error().code, Code::kResourceExhausted);
  EXPECT_EQ(*render("unused", {{"x", deep}}), "unused");
}

}  // namespace
}  // namespace tw::text
