// `tokenworks train plot`.
#pragma once

#include <CLI/CLI.hpp>

namespace tw::cli {

void add_train_plot(CLI::App& train, int& exit_code);

}  // namespace tw::cli
