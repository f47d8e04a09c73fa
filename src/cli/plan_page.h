// Answers of `tokenworks plan` as pages with charts.
#pragma once

#include <string>
#include <vector>

#include "cli/html_page.h"
#include "plan/estimate.h"
#include "plan/network.h"
#include "plan/search.h"
#include "plan/serve_plan.h"

namespace tw::cli {

/// Figures, a step's time, memory by stage, the pipeline and what the days hang on.
base::Result<std::string> estimate_page(const plan::Setting& setting, const plan::Estimate& estimate);

/// What a search found for one number of accelerators; `best` in order of their simulated time.
struct SearchPage {
  const plan::Setting* setting = nullptr;
  const plan::SearchResult* found = nullptr;
  const std::vector<plan::Estimate>* best = nullptr;
  std::string unfit;             ///< the fastest that does not fit, in words
  std::vector<std::string> why;  ///< of the first plans, why they are slower than the first
};
/// `chosen`: the plan that the search ends with.
base::Result<std::string> search_page(const std::vector<SearchPage>& searches, const plan::Estimate& chosen,
                                      const plan::Setting& setting);

/// Figures, the front of tokens a second against the time between tokens, `others` more divisions side by
/// side, a token's time, memory of a rank and what the tokens a second hang on.
base::Result<std::string> serve_page(const plan::ServeSetting& setting, const plan::ServeAnswer& answer,
                                     int others);

std::string network_page(const plan::NetworkPlan& network);

/// Writes a page; fails as files do.
base::Status write_page(const std::string& file, const std::string& text);

}  // namespace tw::cli
