// The verbs. Each add_ function declares one subcommand with its flags, help and examples; its callback does
// the work and sets exit_code: 0 done, 1 failed (one clear line on standard error), 2 wrong usage.
#pragma once

#include <CLI/CLI.hpp>

namespace tw::cli {

void add_serve(CLI::App& app, int& exit_code);
void add_run(CLI::App& app, int& exit_code);
void add_pull(CLI::App& app, int& exit_code);
void add_list(CLI::App& app, int& exit_code);
void add_rm(CLI::App& app, int& exit_code);
void add_inspect(CLI::App& app, int& exit_code);
void add_tokenize(CLI::App& app, int& exit_code);
void add_info(CLI::App& app, int& exit_code);
void add_bench(CLI::App& app, int& exit_code);
void add_train(CLI::App& app, int& exit_code);
void add_eval(CLI::App& app, int& exit_code);
void add_quantize(CLI::App& app, int& exit_code);
void add_plan(CLI::App& app, int& exit_code);

}  // namespace tw::cli
