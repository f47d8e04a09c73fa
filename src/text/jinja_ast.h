// The syntax tree of a template: plain data, never changed after parsing, so that threads may share it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja_filters.h"
#include "text/jinja_value.h"

namespace tw::text::jinja {

enum class Op : std::uint8_t {
  kAdd,
  kSub,
  kMul,
  kDiv,
  kFloorDiv,
  kMod,
  kPow,
  kEq,
  kNe,
  kLt,
  kLe,
  kGt,
  kGe,
  kIn,
  kNotIn,
};

enum class ExprKind : std::uint8_t {
  kConst,      ///< constant
  kName,       ///< slot, name
  kAttribute,  ///< children[0] . name
  kItem,       ///< children[0] [ children[1] ]
  kSlice,      ///< children[0] [ children[1] : children[2] : children[3] ], absent ones null
  kCall,       ///< children[0] ( arguments )
  kFilter,     ///< children[0] | name ( arguments ); children[0] is null in a filter block
  kTest,       ///< children[0] is name ( arguments )
  kNegative,   ///< - children[0]
  kPositive,   ///< + children[0]
  kNot,        ///< not children[0]
  kBinary,     ///< children[0] op children[1]
  kCompare,    ///< children[0] ops[0] children[1] ops[1] children[2] ...
  kAnd,        ///< children[0] and children[1]
  kOr,
  kConcat,       ///< children joined by ~
  kConditional,  ///< children[1] if children[0] else children[2], which may be null
  kList,
  kTuple,
  kDict,  ///< keys and values by turns
};

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

struct Arguments {
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string, ExprPtr>> named;
  ExprPtr star;         ///< *sequence, or null
  ExprPtr double_star;  ///< **mapping, or null
};

struct Expr {
  ExprKind kind = ExprKind::kConst;
  int line = 0;
  int depth = 1;  ///< 1 + that of the deepest child: bounds the recursion of every walk
  Op op = Op::kAdd;
  int slot = -1;
  std::string name;
  Filter filter = nullptr;  ///< of a kFilter; null when nobody has one of this name
  Test test = nullptr;      ///< of a kTest
  Value constant;
  std::vector<Op> ops;
  std::vector<ExprPtr> children;
  std::unique_ptr<Arguments> arguments;
};

/// What `set` and `for` assign to: a name, a namespace's attribute, or a tuple of targets.
struct Target {
  int slot = -1;          ///< of the name, or of the namespace
  std::string attribute;  ///< empty for a plain name
  bool is_tuple = false;
  std::vector<Target> parts;
};

enum class StmtKind : std::uint8_t {
  kText,
  kOutput,       ///< expr
  kFor,          ///< target, expr, test, body, orelse
  kIf,           ///< branches, orelse
  kSet,          ///< target, expr
  kSetBlock,     ///< target, body, filters
  kMacro,        ///< macro
  kCall,         ///< expr (a call), macro (the caller)
  kFilterBlock,  ///< expr (filters), body
  kWith,         ///< assignments, body
  kGroup,        ///< body (a generation block)
  kBreak,
  kContinue,
};

struct Stmt;
using Body = std::vector<std::unique_ptr<Stmt>>;

struct Parameter {
  int slot = -1;
  std::string name;
  ExprPtr fallback;  ///< null when it has no default
};

struct MacroDef {
  std::string name;
  int slot = -1;
  int line = 0;
  std::vector<Parameter> parameters;
  Body body;
  bool uses_caller = false;  ///< the body reads `caller`; likewise `varargs` and `kwargs`
  bool uses_varargs = false;
  bool uses_kwargs = false;
};

struct Stmt {
  StmtKind kind = StmtKind::kText;
  int line = 0;
  std::string text;
  Target target;
  ExprPtr expr;
  ExprPtr test;
  Body body;
  Body orelse;
  std::vector<std::pair<ExprPtr, Body>> branches;
  std::vector<std::pair<Target, ExprPtr>> assignments;
  std::unique_ptr<MacroDef> macro;
};

/// A parsed template. Names are numbered: slot i is names[i].
struct Program {
  Body body;
  std::vector<std::string> names;
  std::vector<bool> read;  ///< by slot: whether an expression reads the name
  std::map<std::string, int, std::less<>> slots;
};

}  // namespace tw::text::jinja
