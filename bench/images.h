// The guest kernel and the programs that the build put into ring3, as files for the time of a run.
#pragma once

#include <string>

namespace ring3::bench {

/// A folder that goes with the object.
class ImageFolder {
 public:
  ImageFolder();
  ~ImageFolder();
  ImageFolder(const ImageFolder&) = delete;

  std::string Path(const std::string& name) const { return folder_ + "/" + name; }
  std::string NanoKernel() const { return Path("nano.elf"); }
  std::string NanoNative() const { return Path("nano-native"); }
  std::string Programs() const { return Path("programs"); }

 private:
  std::string folder_;
};

}  // namespace ring3::bench
