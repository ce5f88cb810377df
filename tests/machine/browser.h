// Chromium without a screen, by its DevTools protocol over pipes, for tests.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace ring3::test {

struct Picture {
  unsigned width = 0, height = 0;
  std::vector<uint32_t> pixels;  // 0xRRGGBB

  uint32_t At(unsigned x, unsigned y) const { return pixels.at(size_t{y} * width + x); }
  bool operator==(const Picture&) const = default;
};

/// Throws where `file` is no PNG.
Picture DecodePng(const std::string& file);

/// One page of a browser. Killed at destruction. What fails throws std::runtime_error.
class Browser {
 public:
  static bool Installed();

  /// The browser keeps its files in `folder`.
  explicit Browser(const std::string& folder);
  ~Browser();
  Browser(const Browser&) = delete;

  void Open(const std::string& url);
  /// The value of a JavaScript expression in the page; null where it fails.
  nlohmann::json Evaluate(const std::string& expression);
  /// The page as a PNG file.
  std::string Screenshot();
  /// The part of the page that the element covers; empty where there is none, or it is not wholly to be seen.
  Picture Look(const std::string& element);
  /// A lower-case letter, pressed and released.
  void Press(char letter);

 private:
  /// The answer, which has "result" or "error".
  nlohmann::json Exchange(const std::string& method, const nlohmann::json& parameters);
  /// The result.
  nlohmann::json Ask(const std::string& method, const nlohmann::json& parameters = nlohmann::json::object());
  nlohmann::json Read();

  pid_t pid_ = -1;
  int to_ = -1, from_ = -1;
  int last_id_ = 0;
  std::string session_, waiting_;
};

}  // namespace ring3::test
