#include "cli/html_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "cli/markup.h"

namespace tw::cli {
namespace {

// Nothing may be fetched and no script may run, whatever a name says.
constexpr const char* kHead = R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>
:root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--dim:#59636e;--line:#d5dae0;--soft:#eef1f4;
--c0:#2f6fd6;--c1:#d9822b;--c2:#2a9d74;--c3:#c94f6d;--c4:#8460c9;--c5:#7d8b22;--c6:#2795b3;--c7:#8c8f94;--c8:#a0522d}
@media(prefers-color-scheme:dark){:root{--bg:#14171b;--fg:#e8eaed;--dim:#9aa4ae;--line:#39414a;--soft:#20262c;
--c0:#6ea2f5;--c1:#f0a860;--c2:#5cc9a0;--c3:#ef8aa2;--c4:#b39af0;--c5:#b9c75a;--c6:#63c3de;--c7:#a5a9af;--c8:#d99a6c}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:60rem;padding:1rem;background:var(--bg);color:var(--fg);
font:1rem/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.4rem;line-height:1.25;margin:.5rem 0}h2{font-size:1.1rem;margin:2rem 0 .5rem}
p{margin:.4rem 0;color:var(--dim)}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{padding:.3rem .6rem .3rem 0;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
td.n,th.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
th{color:var(--dim);font-weight:600}table{overflow-wrap:normal}
@media(max-width:40rem){tr:first-child{display:none}tr{display:flex;flex-wrap:wrap;gap:0 1rem;padding:.4rem 0;
border-bottom:1px solid var(--line)}td,td.n{border:0;padding:0;text-align:left;white-space:normal}
td:first-child{flex:1 1 auto;font-weight:600}td:empty{display:none}
.fold>input:not(:checked)~* .late,.fold>input:not(:checked)~.late,.fold>input:not(:checked)~* td[data-of=how],
.fold>input:not(:checked)~* td[data-of^=prov],.fold>input:checked~label{display:none}
.fold>label{display:block;padding:.5rem 0;color:var(--c0);cursor:pointer}
.fold>input:focus-visible~label{outline:2px solid var(--c0)}.fold>input{position:absolute;opacity:0}
td+td::before{content:attr(data-of) " ";color:var(--dim)}}
@media(min-width:40.01rem){.fold>input,.fold>label{display:none}}
.legend{display:flex;flex-wrap:wrap;gap:.2rem 1rem;margin:.4rem 0;padding:0;list-style:none;font-size:.9rem}
.legend i{display:inline-block;width:.8em;height:.8em;border-radius:2px;margin-right:.4em}
.row{margin:.5rem 0}.row>div:first-child{display:flex;justify-content:space-between;gap:1rem;font-size:.9rem}
.row b{font-weight:600;white-space:nowrap}
.bar{position:relative;display:flex;height:1.3rem;background:var(--soft);border-radius:3px;overflow:hidden}
.bar span{display:block;height:100%;flex:none}.bar .at{position:absolute;top:0;width:2px;background:var(--fg)}
svg{display:block;width:100%;height:auto;max-width:44rem}svg text{fill:var(--dim);font:11px system-ui,sans-serif}
svg .axis{stroke:var(--line);fill:none}svg .front{stroke:var(--c0);fill:none;stroke-width:1.5}
.k0{background:var(--c0);fill:var(--c0)}.k1{background:var(--c1);fill:var(--c1)}
.k2{background:var(--c2);fill:var(--c2)}.k3{background:var(--c3);fill:var(--c3)}
.k4{background:var(--c4);fill:var(--c4)}.k5{background:var(--c5);fill:var(--c5)}
.k6{background:var(--c6);fill:var(--c6)}.k7{background:var(--c7);fill:var(--c7)}
.k8{background:var(--c8);fill:var(--c8)}
</style>)";

/// Rows of a table or chart that a narrow screen shows at once.
constexpr std::size_t kShown = 5;

bool is_number(const std::string& text) {
  return text == "-" || (!text.empty() && (std::isdigit(static_cast<unsigned char>(text[0])) != 0 ||
                                           ((text[0] == '-' || text[0] == '+') && text.size() > 1)));
}

}  // namespace

HtmlPage::HtmlPage(std::string_view title) : title_(html_escape(title)) {
  body_ = "<h1>" + title_ + "</h1>\n";
}

void HtmlPage::heading(std::string_view text) {
  body_ += "<h2>" + html_escape(text) + "</h2>\n";
}

void HtmlPage::paragraph(std::string_view text) {
  body_ += "<p>" + html_escape(text) + "</p>\n";
}

void HtmlPage::table(const std::vector<std::string>& header,
                     const std::vector<std::vector<std::string>>& rows) {
  const auto numbers = [&](std::size_t column) {
    return column > 0 && !rows.empty() && column < rows[0].size() && is_number(rows[0][column]);
  };
  open_fold(rows.size());
  body_ += "<div class=\"wide\"><table><tr>";
  for (std::size_t i = 0; i < header.size(); ++i)
    body_ += fmt::format("<th{}>{}</th>", numbers(i) ? " class=\"n\"" : "", html_escape(header[i]));
  body_ += "</tr>\n";
  std::size_t shown = 0;
  for (const auto& row : rows) {
    body_ += late(shown++) ? "<tr class=\"late\">" : "<tr>";
    for (std::size_t i = 0; i < row.size(); ++i)
      body_ += fmt::format("<td{} data-of=\"{}\">{}</td>", numbers(i) ? " class=\"n\"" : "",
                           i < header.size() ? html_escape(header[i]) : "", html_escape(row[i]));
    body_ += "</tr>\n";
  }
  body_ += "</table></div>\n";
  close_fold(rows.size());
}

bool HtmlPage::late(std::size_t row) {
  return row >= kShown;
}

void HtmlPage::open_fold(std::size_t rows) {
  if (rows > kShown)
    body_ += fmt::format("<div class=\"fold\"><input type=\"checkbox\" id=\"f{}\">", ++folds_);
}

void HtmlPage::close_fold(std::size_t rows) {
  if (rows > kShown) body_ += fmt::format("<label for=\"f{}\">Show all {}</label></div>\n", folds_, rows);
}

void HtmlPage::legend(const std::vector<std::string>& entries) {
  body_ += "<ul class=\"legend\">";
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (!entries[i].empty())
      body_ += fmt::format("<li><i class=\"k{}\"></i>{}</li>", i % kColours, html_escape(entries[i]));
  }
  body_ += "</ul>\n";
}

std::string HtmlPage::text() const {
  return fmt::format("{}<title>{}</title></head><body>\n{}</body></html>\n", kHead, title_, body_);
}

}  // namespace tw::cli
