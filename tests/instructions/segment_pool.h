// Segments that trials run in: an LDT with one descriptor of each kind that matters, at the regions' addresses.
#pragma once

#include "tests/instructions/noise.h"
#include "tests/translator/program.h"

namespace ring3 {

const std::vector<LdtEntry>& SegmentPool();

enum class CodeKind : uint8_t { kFlat, kSegmented32, kSegmented16 };

/// Flat 32-bit segments with based FS and GS, or any code, stack and data segments of the pool that can be loaded.
Segmentation PickSegments(CodeKind kind, Random& random);

/// Segments in which a whole program finds its way: code, data and stack of one size, FS flat.
Segmentation SequenceSegments(CodeKind kind, Random& random);

/// A selector to load, right or wrong: of the pool, the flat ones, null, or outside the tables. None names an entry of
/// the GDT in which host and guest differ.
uint16_t PickSelector(Random& random);
/// One of a code segment, mostly.
uint16_t PickCodeSelector(Random& random);

}  // namespace ring3
