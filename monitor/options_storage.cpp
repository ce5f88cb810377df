#include "monitor/options_storage.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "monitor/cpu/fault.h"

namespace ring3 {
namespace {

struct Place {
  const char *name, *help;
  DriveBus bus;
  unsigned index;
  DriveMedia media;
};

constexpr Place kPlaces[] = {
    {"--fda", "image of the diskette in drive A", DriveBus::kFloppy, 0, DriveMedia::kDisk},
    {"--fdb", "and in drive B", DriveBus::kFloppy, 1, DriveMedia::kDisk},
    {"--hda", "image of the first IDE disk", DriveBus::kIde, 0, DriveMedia::kDisk},
    {"--hdb", "and of the second one", DriveBus::kIde, 1, DriveMedia::kDisk},
    {"--hdc", "the third one, in the CD-ROM drive's place", DriveBus::kIde, 2, DriveMedia::kDisk},
    {"--hdd", "and the fourth one", DriveBus::kIde, 3, DriveMedia::kDisk},
    {"--cdrom", "image of the disc in the CD-ROM drive", DriveBus::kIde, 2, DriveMedia::kCdrom},
};

}  // namespace

void AddStorageOptions(CLI::App& run, Options& options) {
  for (const Place& place : kPlaces) {
    run.add_option_function<std::string>(
           place.name,
           [&options, &place](const std::string& file) {
             options.drive_list.AddAt(place.bus, place.index, place.media, file);
           },
           place.help)
        ->type_name("F");
  }
  run.add_option_function<std::vector<std::string>>(
         "--drive",
         [&options](const std::vector<std::string>& drives) {
           for (const std::string& drive : drives) options.drive_list.AddDescribed(drive);
         },
         "file=F,if=ide|floppy|virtio|none,index=N,media=disk|cdrom,format=raw|qcow2,readonly=on,snapshot=on,...")
      ->type_name("PROPERTIES");
  run.add_option_function<std::string>(
         "image",
         [&options](const std::string& file) { options.drive_list.AddAt(DriveBus::kIde, 0, DriveMedia::kDisk, file); },
         "the same as --hda")
      ->type_name("F");
  run.add_flag("--snapshot", options.snapshot, "throw away at the end what the guest writes to its disks");
}

void FinishStorageOptions(Options& options) {
  options.drives = options.drive_list.Finish(options.snapshot, options.command == Command::kRun);
  const bool any = std::any_of(options.drives.begin(), options.drives.end(),
                               [](const DriveOptions& drive) { return !drive.image.file.empty(); });
  options.firmware |= any;
  if (any && !options.lockstep.empty()) throw UsageError("--lockstep follows a machine without disks: leave them out");
}

}  // namespace ring3
