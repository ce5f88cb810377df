// Takes a stream of bytes apart into the JSON objects in it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace ring3::qmp {

class JsonStream {
 public:
  static constexpr size_t kMostBytes = 1u << 20;  // of one object
  static constexpr unsigned kMostDepth = 256;

  struct Events {
    std::function<void(std::string_view text)> object;    // from '{' to its '}'; its inside is not checked
    std::function<void(const std::string& why)> rubbish;  // skipped to the end of the line
  };

  explicit JsonStream(Events events) : events_(std::move(events)) {}
  void Feed(std::string_view bytes);

 private:
  void Outside(char byte);
  void Inside(char byte);
  void Refuse(const std::string& why);

  Events events_;
  std::string text_;
  unsigned depth_ = 0;
  bool in_string_ = false, escaped_ = false, skipping_ = false;
};

}  // namespace ring3::qmp
