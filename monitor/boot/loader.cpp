#include "monitor/boot/loader.h"

#include <deque>

#include "monitor/boot/acpi_tables.h"
#include "monitor/boot/guest_file.h"
#include "monitor/boot/linux_boot.h"
#include "monitor/boot/multiboot.h"
#include "monitor/cpu/fault.h"

namespace ring3 {
namespace {

// Splits at single commas; a doubled comma stands for one.
std::vector<std::string> SplitModules(const std::string& initrd) {
  std::vector<std::string> parts(1);
  for (size_t i = 0; i < initrd.size(); ++i) {
    if (initrd[i] != ',') {
      parts.back() += initrd[i];
    } else if (i + 1 < initrd.size() && initrd[i + 1] == ',') {
      parts.back() += initrd[++i];
    } else {
      parts.emplace_back();
    }
  }
  return parts;
}

// What a Multiboot kernel sees of a file: its name without the host's folders, then its arguments.
std::string GuestCommandLine(const std::string& path, const std::string& arguments) {
  return arguments.empty() ? BaseName(path) : BaseName(path) + " " + arguments;
}

void LoadLinuxGuest(const BootOptions& options, const NamedImage& kernel, PhysicalMemory& memory, CpuState& cpu) {
  Bytes initrd;
  if (!options.initrd.empty()) initrd = ReadGuestFile("initrd", options.initrd);
  LoadLinux(
      {kernel, {options.initrd, initrd}, options.command_line, WriteAcpiTables(memory, options.acpi), options.vga_text},
      memory, cpu);
}

void LoadMultibootGuest(const BootOptions& options, const NamedImage& kernel, PhysicalMemory& memory, CpuState& cpu) {
  MultibootBoot boot{kernel, GuestCommandLine(options.kernel, options.command_line), {}};
  std::deque<Bytes> files;  // the images refer to its elements
  if (!options.initrd.empty()) {
    for (const std::string& module : SplitModules(options.initrd)) {
      const size_t space = module.find(' ');
      const std::string path = module.substr(0, space);
      const std::string arguments = space == std::string::npos ? "" : module.substr(space + 1);
      files.push_back(ReadGuestFile("initrd", path));
      boot.modules.push_back({{path, files.back()}, GuestCommandLine(path, arguments)});
    }
  }
  WriteAcpiTables(memory, options.acpi);
  LoadMultiboot(boot, memory, cpu);
}

}  // namespace

void LoadGuest(const BootOptions& options, PhysicalMemory& memory, CpuState& cpu) {
  const Bytes file = ReadGuestFile("kernel", options.kernel);
  const NamedImage kernel{options.kernel, file};
  if (IsBzImage(file)) {
    LoadLinuxGuest(options, kernel, memory, cpu);
  } else if (IsMultiboot(file)) {
    LoadMultibootGuest(options, kernel, memory, cpu);
  } else {
    throw UsageError(options.kernel + " is not a kernel ring3 can boot (bzImage or Multiboot 1)");
  }
}

}  // namespace ring3
