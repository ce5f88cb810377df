#include "bench/images.h"

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>

extern "C" const char ring3_bench_nano_kernel_begin[], ring3_bench_nano_kernel_end[];
extern "C" const char ring3_bench_nano_native_begin[], ring3_bench_nano_native_end[];
extern "C" const char ring3_bench_programs_begin[], ring3_bench_programs_end[];

namespace ring3::bench {
namespace {

void Write(const std::string& path, const char* begin, const char* end) {
  std::ofstream file(path, std::ios::binary);
  file.write(begin, end - begin);
  file.close();
  if (!file) throw std::runtime_error("bench: cannot write " + path);
  chmod(path.c_str(), 0755);
}

}  // namespace

ImageFolder::ImageFolder() {
  std::string name = std::filesystem::temp_directory_path().string() + "/ring3-bench.XXXXXX";
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("bench: cannot make a folder in " + name);
  folder_ = name;
  Write(NanoKernel(), ring3_bench_nano_kernel_begin, ring3_bench_nano_kernel_end);
  Write(NanoNative(), ring3_bench_nano_native_begin, ring3_bench_nano_native_end);
  Write(Programs(), ring3_bench_programs_begin, ring3_bench_programs_end);
}

ImageFolder::~ImageFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

}  // namespace ring3::bench
