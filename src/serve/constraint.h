// From a request's constraint to a grammar. Internal to src/serve.
#pragma once

#include "serve/generate_fields.h"
#include "text/grammar.h"

namespace tw::serve {

/// Null for no constraint. Errors name the request's field and the construct that cannot be enforced.
base::Result<text::GrammarPtr> compile_constraint(const Constraint& constraint);

/// GBNF whose sentences are exactly these strings.
std::string choice_grammar(const Value& strings);

}  // namespace tw::serve
