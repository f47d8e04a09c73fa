#include "text/json_schema_format.h"

#include <fmt/format.h>

namespace tw::text {
namespace {

std::string date() {
  const std::string month_day =
      "(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|02-(?:0[1-9]|1\\d|"
      "2[0-8]))";
  const std::string year = "(?:\\d{3}[1-9]|\\d{2}[1-9]\\d|\\d[1-9]\\d{2}|[1-9]\\d{3})";  // 0001 to 9999
  const std::string by_4 = "(?:0[48]|[2468][048]|[13579][26])";                          // 04, 08, ... 96
  return fmt::format("(?:{}-{}|(?:\\d\\d{}|{}00)-02-29)", year, month_day, by_4, by_4);
}

std::string time() {
  const std::string hour_minute = "(?:[01]\\d|2[0-3]):[0-5]\\d";
  return fmt::format("{0}:[0-5]\\d(?:\\.\\d{{1,6}})?(?:Z|[+-]{0})", hour_minute);
}

std::string duration() {
  const std::string n = "\\d{1,9}";
  const std::string days = n + "D", months = n + "M(?:" + days + ")?", years = n + "Y(?:" + months + ")?";
  const std::string seconds = n + "S", minutes = n + "M(?:" + seconds + ")?",
                    hours = n + "H(?:" + minutes + ")?";
  const std::string clock = fmt::format("T(?:{}|{}|{})", hours, minutes, seconds);
  return fmt::format("P(?:{}W|(?:{}|{}|{})(?:{})?|{})", n, years, months, days, clock, clock);
}

std::string ipv6() {
  const std::string group = "[0-9a-fA-F]{1,4}", left = "(?:" + group + ":)", right = "(?::" + group + ")";
  std::string out = fmt::format("(?:{0}{{7}}{1}|{0}{{1,7}}:|:(?:{2}{{1,7}}|:)", left, group, right);
  for (int before = 1; before <= 6; ++before) {
    out += fmt::format("|{}{{1,{}}}{}{{1,{}}}", left, before, right, 7 - before);
  }
  return out + ")";
}

std::string host(int fewest_labels) {
  const std::string label = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,30}[a-zA-Z0-9])?";
  return fmt::format("{0}(?:\\.{0}){{{1},3}}", label, fewest_labels - 1);
}

std::string uri() {
  const std::string coded = "%[0-9a-fA-F]{2}";
  const std::string safe = "a-zA-Z0-9._~!$&'()*+,;=";
  const std::string path_char = fmt::format("(?:[{}:@-]|{})", safe, coded);
  const std::string user = fmt::format("(?:(?:[{}:-]|{})*@)?", safe, coded);
  const std::string name = fmt::format("(?:[{}-]|{})*", safe, coded);
  const std::string more = fmt::format("(?:/{}*)*", path_char), tail = fmt::format("(?:{}|[/?])*", path_char);
  return fmt::format(
      "[a-zA-Z][a-zA-Z0-9+.-]*:(?://{}{}(?::\\d{{1,5}})?{}|/(?:{}+{})?|{}+{})(?:\\?{})?(?:#{})?", user, name,
      more, path_char, more, path_char, more, tail, tail);
}

}  // namespace

std::string format_pattern(std::string_view format) {
  if (format == "date") return date();
  if (format == "time") return time();
  if (format == "date-time") return date() + "T" + time();
  if (format == "duration") return duration();
  if (format == "uuid") return "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}";
  if (format == "ipv4") {
    const std::string octet = "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
    return fmt::format("(?:{0}\\.){{3}}{0}", octet);
  }
  if (format == "ipv6") return ipv6();
  if (format == "hostname") return host(1);
  if (format == "email") return "[a-zA-Z0-9_+-]{1,20}(?:\\.[a-zA-Z0-9_+-]{1,20}){0,2}@" + host(2);
  if (format == "uri") return uri();
  return {};
}

}  // namespace tw::text
