// QEMU's way to write options: a word, then properties: "user,id=n0,hostfwd=tcp::2222-:22". A comma in a value is
// written twice.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace ring3 {

/// The parts between commas; two commas together are one comma of a part.
std::vector<std::string> SplitAtCommas(const std::string& text);

class Properties {
 public:
  /// `option` is for messages: "--netdev".
  Properties(std::string option, const std::string& text);

  const std::string& First() const { return first_; }
  const std::string& Option() const { return option_; }
  /// Takes the property out; the last one counts where there are several. A property without "=" is "on".
  std::optional<std::string> Take(const std::string& key);
  std::vector<std::string> TakeAll(const std::string& key);
  /// on, off, yes, no, true, false. Throws UsageError for others.
  bool TakeFlag(const std::string& key, bool otherwise);
  /// Throws UsageError when a property is left, naming those that are known.
  void ExpectNothingElse(const std::string& known) const;
  [[noreturn]] void Refuse(const std::string& why) const;

 private:
  struct Property {
    std::string key, value;
  };
  std::string option_, first_;
  std::vector<Property> properties_;
};

}  // namespace ring3
