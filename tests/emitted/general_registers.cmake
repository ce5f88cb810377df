# Light callouts must not touch the guest's x87 and SSE state: their object files name no such register and call nothing
# but each other.
foreach(object ${OBJECTS})
  execute_process(COMMAND ${NM} --undefined-only --demangle ${object} OUTPUT_VARIABLE needed COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX REPLACE " +U ring3::BlockMode::(Of|After)\\([^\n]*\n" "" needed "${needed}")
  if(NOT needed STREQUAL "")
    message(FATAL_ERROR "${object} calls what may use any register:\n${needed}")
  endif()
  execute_process(COMMAND ${OBJDUMP} -d ${object} OUTPUT_VARIABLE code COMMAND_ERROR_IS_FATAL ANY)
  if(code MATCHES "[^\n]*%([xyz]mm|st|mm)[0-9(][^\n]*")
    message(FATAL_ERROR "${object} uses other than general registers:\n${CMAKE_MATCH_0}")
  endif()
endforeach()
