#include "base/env.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace tw::base::env {
namespace {

TEST(Env, EmptyCountsAsNotSetAndSecretsStayHidden) {
  ::setenv("HF_TOKEN", "", 1);
  EXPECT_FALSE(hf_token());
  ::setenv("HF_TOKEN", "hf_secret", 1);
  EXPECT_EQ(hf_token(), "hf_secret");
  for (const Variable& variable : variables()) {
    EXPECT_NE(shown_value(variable), "hf_secret");
    if (variable.name == "HF_TOKEN") {
      EXPECT_EQ(shown_value(variable), "(set)");
    }
  }
  ::unsetenv("HF_TOKEN");
}

}  // namespace
}  // namespace tw::base::env
