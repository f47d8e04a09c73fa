// The parts of `tokenworks plan`, each a subcommand.
#pragma once

#include <CLI/CLI.hpp>

namespace tw::cli {

void add_plan_calibrate(CLI::App& plan, int& exit_code);
void add_plan_catalog(CLI::App& plan, int& exit_code);
void add_plan_claims(CLI::App& plan, int& exit_code);
void add_plan_estimate(CLI::App& plan, int& exit_code);
void add_plan_network(CLI::App& plan, int& exit_code);
void add_plan_search(CLI::App& plan, int& exit_code);
void add_plan_serve(CLI::App& plan, int& exit_code);
void add_plan_validate(CLI::App& plan, int& exit_code);

}  // namespace tw::cli
